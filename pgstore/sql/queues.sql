select * from {ns}.queues_v2($1::integer)

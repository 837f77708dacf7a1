select * from {ns}.queues_v3($1::integer)

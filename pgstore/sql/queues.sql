select * from {ns}.queues_v1()

select * from {ns}.workers_v1()

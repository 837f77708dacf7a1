SELECT queue, due FROM onceq_queues

SELECT paused FROM onceq_queues WHERE queue = ?1

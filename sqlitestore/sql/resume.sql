UPDATE onceq_queues SET paused = 0, due = due + 1 WHERE queue = ?1

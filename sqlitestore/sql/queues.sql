SELECT queue, paused, scheduled, retryable, running, completed, discarded, cancelled FROM onceq_queues ORDER BY queue

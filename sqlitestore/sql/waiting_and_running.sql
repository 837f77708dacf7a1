-- How many jobs wait in the queues from ?1 to ?2, and how many run in all.
SELECT sum(iif(queue >= ?1 AND queue <= ?2, scheduled + retryable, 0)), sum(running) FROM onceq_queues

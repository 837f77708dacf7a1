-- Up to ?1 queues that have no job and are not paused.
DELETE FROM onceq_queues WHERE queue IN (
	SELECT queue FROM onceq_queues
	WHERE paused = 0 AND scheduled = 0 AND retryable = 0 AND running = 0 AND completed = 0 AND discarded = 0
		AND cancelled = 0
	LIMIT ?1
)

-- Queues whose counts are not those of their jobs.
SELECT 'queue ' || queue || ' counts ' || group_concat(counted || ' of state ' || state || ' and has ' || had, '; ')
FROM (
	SELECT queue, state, sum(counted) counted, sum(had) had
	FROM (
		SELECT queue, 0 state, scheduled counted, 0 had FROM onceq_queues UNION ALL
		SELECT queue, 1, retryable, 0 FROM onceq_queues UNION ALL
		SELECT queue, 2, running, 0 FROM onceq_queues UNION ALL
		SELECT queue, 3, completed, 0 FROM onceq_queues UNION ALL
		SELECT queue, 4, discarded, 0 FROM onceq_queues UNION ALL
		SELECT queue, 5, cancelled, 0 FROM onceq_queues UNION ALL
		SELECT queue, state, 0, count(*) FROM onceq_jobs GROUP BY queue, state
	)
	GROUP BY queue, state
)
WHERE counted <> had GROUP BY queue

-- For each kind in ?3 (a JSON array) and each priority at which a job of it
-- waits in queue ?1: the earliest run time, and the earliest after now
-- (?2).
WITH RECURSIVE present (kind, priority) AS (
	SELECT e.value, (SELECT min(j.priority) FROM onceq_jobs j INDEXED BY onceq_jobs_due
		WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = e.value)
	FROM json_each(?3) e
	UNION ALL
	SELECT present.kind, (SELECT min(j.priority) FROM onceq_jobs j INDEXED BY onceq_jobs_due
		WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = present.kind
			AND j.priority > present.priority)
	FROM present WHERE present.priority IS NOT NULL
)
SELECT kind, priority,
	(SELECT min(j.run_at) FROM onceq_jobs j INDEXED BY onceq_jobs_due
		WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = present.kind
			AND j.priority = present.priority),
	(SELECT min(j.run_at) FROM onceq_jobs j INDEXED BY onceq_jobs_due
		WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = present.kind
			AND j.priority = present.priority
			AND j.run_at > ?2)
FROM present WHERE priority IS NOT NULL

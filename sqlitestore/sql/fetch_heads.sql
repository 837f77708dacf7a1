-- For each priority of queue ?1 that has a waiting job: the earliest run time, and the earliest after now (?2).
WITH RECURSIVE present (priority) AS (
	SELECT min(priority) FROM onceq_jobs INDEXED BY onceq_jobs_due WHERE state <= 1 AND behind = '' AND queue = ?1
	UNION ALL
	SELECT (SELECT min(j.priority) FROM onceq_jobs j INDEXED BY onceq_jobs_due WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority > present.priority)
	FROM present WHERE present.priority IS NOT NULL
)
SELECT priority,
	(SELECT min(j.run_at) FROM onceq_jobs j INDEXED BY onceq_jobs_due WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = present.priority),
	(SELECT min(j.run_at) FROM onceq_jobs j INDEXED BY onceq_jobs_due WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = present.priority AND j.run_at > ?2)
FROM present WHERE priority IS NOT NULL

-- The kinds of which a job waits in queue ?1.
WITH RECURSIVE waiting (kind) AS (
	SELECT min(kind) FROM onceq_jobs INDEXED BY onceq_jobs_due WHERE state <= 1 AND behind = '' AND queue = ?1
	UNION ALL
	SELECT (SELECT min(j.kind) FROM onceq_jobs j INDEXED BY onceq_jobs_due
		WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind > waiting.kind)
	FROM waiting WHERE waiting.kind IS NOT NULL
)
SELECT kind FROM waiting WHERE kind IS NOT NULL

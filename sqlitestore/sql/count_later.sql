-- How many jobs of queue ?1, kind ?2 and priority ?3 are due after ?4, of each
-- stored state; at most ?5 are looked at.
SELECT state, count(*) FROM (
	SELECT j.state FROM onceq_jobs j INDEXED BY onceq_jobs_due
	WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = ?2 AND j.priority = ?3 AND j.run_at > ?4
		LIMIT ?5
) GROUP BY state

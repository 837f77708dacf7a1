-- How many jobs of queue ?1 and priority ?2 are due at ?3, of each stored state; at most ?4 are looked at.
SELECT state, count(*) FROM (
	SELECT j.state FROM onceq_jobs j INDEXED BY onceq_jobs_due
	WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = ?2 AND j.run_at <= ?3 LIMIT ?4
) GROUP BY state

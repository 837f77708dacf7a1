-- Due jobs of one kind and priority that come after run time ?5 and ID ?6:
-- no more than ?7.
SELECT j.seq, j.run_at, j.id FROM onceq_jobs j INDEXED BY onceq_jobs_due
WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = ?2 AND j.priority = ?3 AND j.run_at <= ?4
	AND (j.run_at, j.id) > (?5, ?6)
ORDER BY j.run_at, j.id LIMIT ?7

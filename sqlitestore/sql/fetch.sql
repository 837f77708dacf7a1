-- The first ?5 due jobs of one kind and priority.
SELECT {full} FROM onceq_jobs j INDEXED BY onceq_jobs_due
WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.kind = ?2 AND j.priority = ?3 AND j.run_at <= ?4
ORDER BY j.run_at, j.id LIMIT ?5

-- The first ?4 due jobs of one priority.
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_due
WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = ?2 AND j.run_at <= ?3
ORDER BY j.run_at, j.id LIMIT ?4

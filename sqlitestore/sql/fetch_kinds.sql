-- The first ?4 due jobs of one priority and of the kinds in ?5 (a JSON array).
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_due
WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = ?2 AND j.run_at <= ?3 AND j.kind IN (SELECT value FROM json_each(?5))
ORDER BY j.run_at, j.id LIMIT ?4

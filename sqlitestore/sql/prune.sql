-- Finished jobs whose retention has passed.
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_prune
WHERE j.state >= 3 AND j.prune_at <= ?1 ORDER BY j.prune_at, j.id LIMIT ?2

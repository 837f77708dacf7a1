-- Up to ?2 jobs that run for worker ?1.
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_running
WHERE j.state = 2 AND j.worker = ?1 ORDER BY j.id LIMIT ?2

-- Unknown workers that have running jobs.
SELECT DISTINCT j.worker FROM onceq_jobs j INDEXED BY onceq_jobs_running
WHERE j.state = 2 AND NOT EXISTS (SELECT 1 FROM onceq_workers w WHERE w.worker = j.worker) ORDER BY j.worker LIMIT ?1

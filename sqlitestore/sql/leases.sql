-- When the leases of those end who run a job.
SELECT w.lease_ends FROM onceq_workers w
WHERE EXISTS (SELECT 1 FROM onceq_jobs j INDEXED BY onceq_jobs_running WHERE j.state = 2 AND j.worker = w.worker)

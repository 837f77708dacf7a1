-- The workers that are known, and how many jobs run for each.
SELECT w.worker, w.since, w.beat_at, w.lease_ends, w.about,
	(SELECT count(*) FROM onceq_jobs j INDEXED BY onceq_jobs_running WHERE j.state = 2 AND j.worker = w.worker)
FROM onceq_workers w ORDER BY w.worker

-- The jobs in ?4 (a JSON array of seq) start running. OR FAIL: see add_job.
UPDATE OR FAIL onceq_jobs SET state = 2, attempt = attempt + 1, run = run + 1, started_at = ?1, worker = ?2,
	fetch_no = ?3
WHERE seq IN (SELECT value FROM json_each(?4))

-- The jobs in ?5 (a JSON array of seq) have ended, and nothing else
-- changed. OR FAIL: see add_job.
UPDATE OR FAIL onceq_jobs SET state = ?1, worker = ?2, finished_at = ?3, prune_at = ?4
WHERE seq IN (SELECT value FROM json_each(?5))

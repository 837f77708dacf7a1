-- Whether a job of queue ?1, priority ?2 and the kinds in ?4 (a JSON array) is due at ?3.
SELECT EXISTS (
	SELECT 1 FROM onceq_jobs j INDEXED BY onceq_jobs_due
	WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = ?2 AND j.run_at <= ?3 AND j.kind IN (SELECT value FROM json_each(?4))
)

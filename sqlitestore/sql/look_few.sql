-- Jobs with IDs below ?1, the largest first, no more than ?2; by the indexes
-- in ?3 (see lookAt in list.go), of the queues from ?4 to ?5 and the workers
-- from ?6 to ?7 where an index knows them.
SELECT id, seq FROM (
	SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_due
		WHERE ?3 & 1 AND state <= 1 AND behind = '' AND queue >= ?4 AND queue <= ?5
	UNION ALL SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_behind
		WHERE ?3 & 2 AND behind <> '' AND queue >= ?4 AND queue <= ?5
	UNION ALL SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_running
		WHERE ?3 & 4 AND state = 2 AND worker >= ?6 AND worker <= ?7
	UNION ALL SELECT * FROM (SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_state
		WHERE ?3 & 8 AND state IN (1, 4, 5) AND state = 1 AND id < ?1 ORDER BY id DESC LIMIT ?2)
	UNION ALL SELECT * FROM (SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_state
		WHERE ?3 & 16 AND state IN (1, 4, 5) AND state = 4 AND id < ?1 ORDER BY id DESC LIMIT ?2)
	UNION ALL SELECT * FROM (SELECT id, seq FROM onceq_jobs INDEXED BY onceq_jobs_state
		WHERE ?3 & 32 AND state IN (1, 4, 5) AND state = 5 AND id < ?1 ORDER BY id DESC LIMIT ?2)
) WHERE id < ?1 ORDER BY id DESC LIMIT ?2

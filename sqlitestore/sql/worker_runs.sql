-- What runs for worker ?1: the run, the number of the fetch that started
-- it, and what the terms say of it.
SELECT j.id, j.run, j.fetch_no, substr(j.terms, 2, 1) FROM onceq_jobs j INDEXED BY onceq_jobs_running
WHERE j.state = 2 AND j.worker = ?1 ORDER BY j.id

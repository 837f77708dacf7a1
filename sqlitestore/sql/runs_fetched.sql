-- What runs for worker ?1 since fetch ?2 or an earlier one, in the order of their IDs.
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_running
WHERE j.state = 2 AND j.worker = ?1 AND j.fetch_no <= ?2 ORDER BY j.id

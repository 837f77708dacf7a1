-- Keys above ?1, in their order, and the jobs that hold them.
SELECT {key}, {job} FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.holder WHERE k.key > ?1 ORDER BY k.key
	LIMIT ?2

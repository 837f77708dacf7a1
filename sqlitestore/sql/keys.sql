-- Keys above ?1, in their order, and the jobs that hold them.
SELECT {key}, {job}
FROM (SELECT * FROM onceq_keys WHERE key > ?1 ORDER BY key LIMIT ?2) k LEFT JOIN onceq_jobs j ON j.seq = k.holder
ORDER BY k.key

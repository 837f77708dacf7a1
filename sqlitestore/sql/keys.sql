-- Keys from ?1 to ?2, in their order, and the jobs that hold them; no more
-- than ?3.
SELECT {key}, {job} FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.holder
WHERE k.key >= ?1 AND k.key <= ?2 ORDER BY k.key LIMIT ?3

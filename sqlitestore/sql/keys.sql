-- Keys above ?1, in their order.
SELECT {key} FROM onceq_keys k WHERE k.key > ?1 ORDER BY k.key LIMIT ?2

-- Keys that are free.
SELECT {key} FROM onceq_keys k INDEXED BY onceq_keys_frees
WHERE k.frees_at < 9223372036854775807 AND k.frees_at <= ?1 AND k.next = 0 LIMIT ?2

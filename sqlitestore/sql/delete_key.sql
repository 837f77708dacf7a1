DELETE FROM onceq_keys WHERE key = ?1

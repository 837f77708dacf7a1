SELECT {key} FROM onceq_keys k WHERE k.key = ?1

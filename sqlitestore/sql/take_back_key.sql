-- Unless another job holds it.
DELETE FROM onceq_keys WHERE key = ? AND holder = ?

-- Unless somebody else holds it.
DELETE FROM onceq_keys WHERE key = ? AND holder = ?

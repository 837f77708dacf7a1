INSERT INTO onceq_keys (key, holder, pending, frees_at, since, next, gone)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (key) DO UPDATE SET holder = ?2, pending = ?3, frees_at = ?4, since = ?5, next = ?6, gone = ?7

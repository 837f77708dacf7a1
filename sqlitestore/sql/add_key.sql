-- Takes a key, unless it has a row.
INSERT INTO onceq_keys (key, holder, pending, frees_at, since)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING

-- Takes a key unless it has a row. OR FAIL: see add_job.
INSERT OR FAIL INTO onceq_keys (key, holder, pending, frees_at, since)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING

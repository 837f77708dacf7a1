-- A new job that stands behind nobody, unless its ID exists.
INSERT INTO onceq_jobs (seq, id, kind, queue, args, state, priority, run_at, key, key_text, enqueued_at, anchor, terms, more)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

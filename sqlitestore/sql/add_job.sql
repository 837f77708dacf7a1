-- A new job that stands behind no other, unless its ID exists. OR FAIL: an
-- error undoes the whole step anyway, and SQLite then keeps no journal of
-- the statement, which would cost as much as inserting many rows in one
-- statement saves.
INSERT OR FAIL INTO onceq_jobs (seq, id, kind, queue, args, state, priority, run_at, key, key_text, enqueued_at, anchor,
	terms, more)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

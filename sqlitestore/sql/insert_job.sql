INSERT INTO onceq_jobs (seq, id, kind, queue, args, state, priority, run_at, behind, key, key_text, enqueued_at, anchor,
	finished_at, prune_at, terms, more)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)

INSERT OR REPLACE INTO onceq_args (seq, args) VALUES (?1, ?2)

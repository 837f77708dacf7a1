SELECT worker, beat FROM onceq_workers WHERE lease_ends <= ?1 ORDER BY worker LIMIT ?2

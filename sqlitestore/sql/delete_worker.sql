DELETE FROM onceq_workers WHERE worker = ?1

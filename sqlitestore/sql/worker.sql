SELECT lease_ends, beat FROM onceq_workers WHERE worker = ?1

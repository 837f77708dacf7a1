INSERT INTO onceq_workers (worker, lease_ends, beat) VALUES (?1, ?2, 1)
ON CONFLICT (worker) DO UPDATE SET lease_ends = ?2, beat = beat + 1

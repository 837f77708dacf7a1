-- A heartbeat at ?3. ?4 is what the worker says of itself; empty = as before.
INSERT INTO onceq_workers (worker, lease_ends, beat, since, beat_at, about) VALUES (?1, ?2, 1, ?3, ?3, ?4)
ON CONFLICT (worker) DO UPDATE SET lease_ends = ?2, beat = beat + 1, beat_at = ?3, about = iif(?4 = '', about, ?4)

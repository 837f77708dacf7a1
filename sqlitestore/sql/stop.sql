-- A run of worker ?1 is asked to stop.
UPDATE onceq_workers SET stops = stops + 1 WHERE worker = ?1

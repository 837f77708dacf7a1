-- How often a run of the workers in ?1 (a JSON array) was asked to stop.
SELECT w.worker, w.stops FROM json_each(?1) e CROSS JOIN onceq_workers w ON w.worker = e.value

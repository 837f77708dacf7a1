-- The jobs of the IDs in ?1 (a JSON array).
SELECT {job} FROM json_each(?1) e CROSS JOIN onceq_jobs j ON j.id = e.value

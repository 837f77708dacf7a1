-- The jobs of the numbers in ?1 (a JSON array), in that order.
SELECT {full} FROM json_each(?1) e CROSS JOIN onceq_jobs j ON j.seq = e.value

-- The notes with the names in ?1 (a JSON array).
SELECT n.name, n.value FROM json_each(?1) e CROSS JOIN onceq_notes n ON n.name = e.value

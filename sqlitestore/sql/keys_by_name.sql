-- The rows of the keys in ?1 (a JSON array of hexadecimal names).
SELECT {key} FROM json_each(?1) e CROSS JOIN onceq_keys k ON k.key = unhex(e.value)

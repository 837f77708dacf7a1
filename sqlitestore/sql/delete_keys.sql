-- The keys in ?1 (a JSON array of hexadecimal names) are free.
DELETE FROM onceq_keys WHERE key IN (SELECT unhex(value) FROM json_each(?1))

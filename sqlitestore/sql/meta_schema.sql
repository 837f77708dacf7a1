SELECT value FROM onceq_meta WHERE name = 'schema'

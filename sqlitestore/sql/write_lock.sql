-- Writes nothing, and makes a deferred transaction a writing one at once.
DELETE FROM onceq_meta WHERE 0

-- The ID that is ?2 rows below ?1: how far a page of a list looks.
SELECT id FROM onceq_jobs WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2

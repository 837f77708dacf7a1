-- Jobs with IDs below ?1, the largest first; no more than ?2.
SELECT id, seq FROM onceq_jobs WHERE id < ?1 ORDER BY id DESC LIMIT ?2

-- What an enqueue of ID ?1 and key ?2 meets: the key, whether the ID
-- exists, and the job that holds the key.
SELECT concat_ws(' ', k.holder, k.pending, k.frees_at, k.since, k.next,
	EXISTS (SELECT 1 FROM onceq_jobs WHERE id = ?1)) g, +k.gone h, {full}
FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.holder
WHERE k.key = ?2

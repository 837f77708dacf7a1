-- What an enqueue of ID ?1 and key ?2 meets: whether the ID is there, the key, and the job that holds it.
SELECT EXISTS (SELECT 1 FROM onceq_jobs WHERE id = ?1), {key}, {job}
FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.holder
WHERE k.key = ?2

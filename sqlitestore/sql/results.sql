SELECT seq, result FROM onceq_jobs WHERE seq IN (SELECT value FROM json_each(?1)) AND result IS NOT NULL

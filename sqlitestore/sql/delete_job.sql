DELETE FROM onceq_jobs WHERE seq = ?1

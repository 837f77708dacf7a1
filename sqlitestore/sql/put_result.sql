UPDATE onceq_jobs SET result = ?2 WHERE seq = ?1

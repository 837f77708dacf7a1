SELECT max(seq) FROM onceq_jobs

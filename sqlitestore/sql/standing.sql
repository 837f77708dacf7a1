-- How many jobs of queue ?1 stand behind another.
SELECT count(*) FROM onceq_jobs INDEXED BY onceq_jobs_behind WHERE behind <> '' AND queue = ?1

-- The args of the jobs in ?1 (a JSON array of seq), wherever they lie.
SELECT j.seq, iif(typeof(j.args) = 'integer', (SELECT a.args FROM onceq_args a WHERE a.seq = j.seq), j.args)
FROM json_each(?1) e CROSS JOIN onceq_jobs j ON j.seq = e.value

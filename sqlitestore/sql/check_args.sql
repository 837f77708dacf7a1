-- Args that lie apart and are nobody's, or are not where they should lie.
SELECT 'row ' || a.seq || ' of args is of no job' FROM onceq_args a LEFT JOIN onceq_jobs j ON j.seq = a.seq
WHERE j.seq IS NULL OR typeof(j.args) <> 'integer'
UNION ALL
SELECT 'the args of job ' || j.id || ' are not there' FROM onceq_jobs j
WHERE typeof(j.args) = 'integer' AND NOT EXISTS (SELECT 1 FROM onceq_args a WHERE a.seq = j.seq)

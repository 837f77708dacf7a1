-- Keys whose holder does not exist, or has another key.
SELECT 'key ' || lower(hex(k.key)) || ' is held by ' ||
	coalesce('job ' || j.id || ', which has another key', 'row ' || k.holder || ', which is not there')
FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.holder
WHERE k.gone = '' AND (j.seq IS NULL OR j.key <> k.key) OR k.gone <> '' AND k.holder <> 0

-- Jobs that stand behind a job that does not exist, has ended, or has
-- another key.
SELECT 'job ' || w.id || ' stands behind ' || w.behind || ', which ' ||
	CASE WHEN j.seq IS NULL THEN 'is not there' WHEN j.state >= 3 THEN 'has ended' ELSE 'has another key' END
FROM onceq_jobs w LEFT JOIN onceq_jobs j ON j.id = w.behind
WHERE w.behind <> '' AND (j.seq IS NULL OR j.state >= 3 OR j.key <> w.key)

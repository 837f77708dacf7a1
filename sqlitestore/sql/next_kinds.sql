-- When the next job of queue ?1, priority ?2 and the kinds in ?4 (a JSON array) is due after ?3. At most ?5 rows are looked at: where none
-- of them is of these kinds, the last of them says when to look again.
SELECT coalesce(min(CASE WHEN kind IN (SELECT value FROM json_each(?4)) THEN run_at END), CASE WHEN count(*) = ?5 THEN max(run_at) END)
FROM (
	SELECT j.run_at, j.kind FROM onceq_jobs j INDEXED BY onceq_jobs_due
	WHERE j.state <= 1 AND j.behind = '' AND j.queue = ?1 AND j.priority = ?2 AND j.run_at > ?3 ORDER BY j.run_at LIMIT ?5
)

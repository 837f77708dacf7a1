-- Of the jobs numbered in ?1 (a JSON array), in its order, those that match:
-- shown at ?3 in one of the states of ?2 (a bit for each number of a state,
-- and 64 for available); of queue ?4, kind ?5, key ?6, worker ?7 and tag ?8
-- (empty = any); enqueued at ?9 or later and before ?10. No more than ?11.
SELECT {job} FROM json_each(?1) e CROSS JOIN onceq_jobs j ON j.seq = e.value
WHERE ?2 & (1 << iif(j.state <= 1 AND j.behind = '' AND j.run_at <= ?3, 6, j.state))
	AND (?4 = '' OR j.queue = ?4) AND (?5 = '' OR j.kind = ?5) AND (length(?6) = 0 OR j.key = ?6)
	AND (?7 = '' OR j.worker = ?7) AND j.enqueued_at >= ?9 AND j.enqueued_at < ?10
	AND (?8 = '' OR EXISTS (SELECT 1 FROM json_each(iif(j.more = '', '{}', j.more), '$.tags') t WHERE t.value = ?8))
ORDER BY e.key LIMIT ?11

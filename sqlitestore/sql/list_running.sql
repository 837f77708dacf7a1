-- Jobs with IDs below ?1 and not below ?2; in stored state ?3 (-1 = any);
-- due at ?5 or not (?4: 1, 0, NULL = either); of queue ?6, kind ?7 and key
-- ?8 (empty = any). The largest ID first. For running jobs, which are few.
SELECT {job} FROM onceq_jobs j INDEXED BY onceq_jobs_running
WHERE j.state = 2 AND j.state = ?3 AND j.id < ?1 AND j.id >= ?2
	AND (?4 IS NULL OR (j.state <= 1 AND j.behind = '' AND j.run_at <= ?5) = ?4)
	AND (?6 = '' OR j.queue = ?6) AND (?7 = '' OR j.kind = ?7) AND (length(?8) = 0 OR j.key = ?8)
ORDER BY j.id DESC LIMIT ?9

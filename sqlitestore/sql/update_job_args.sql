UPDATE onceq_jobs SET queue = ?2, state = ?3, priority = ?4, run_at = ?5, behind = ?6, attempt = ?7, run = ?8,
	worker = ?9, fetch_no = ?10,
	key_text = ?11, anchor = ?12, started_at = ?13, finished_at = ?14, prune_at = ?15, terms = ?16, more = ?17,
		kind = ?18, args = ?19
WHERE seq = ?1

-- Waiters that do not exist, or do not stand behind the holder.
SELECT 'the waiter of key ' || lower(hex(k.key)) || ' is ' ||
	coalesce('job ' || j.id || ', which stands behind nobody', 'row ' || k.next || ', which is not there')
FROM onceq_keys k LEFT JOIN onceq_jobs j ON j.seq = k.next
WHERE k.next <> 0 AND (j.seq IS NULL OR j.key <> k.key OR j.behind = '')

-- How much the counts of a queue change, and whether a job became due
-- there. The row of a queue may be dropped and made again. due then begins
-- with the time (?9), so that it never repeats.
INSERT INTO onceq_queues (queue, due, scheduled, retryable, running, completed, discarded, cancelled)
VALUES (?1, ?9, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (queue) DO UPDATE SET due = due + ?2, scheduled = scheduled + ?3, retryable = retryable + ?4,
	running = running + ?5,
	completed = completed + ?6, discarded = discarded + ?7, cancelled = cancelled + ?8

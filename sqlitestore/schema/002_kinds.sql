-- Workers fetch the kinds that they have handlers for. What waits lies by
-- kind, so that nobody steps over jobs that are not theirs; each kind is in
-- the order in which its jobs are fetched.
DROP INDEX onceq_jobs_due;
CREATE INDEX onceq_jobs_due ON onceq_jobs (queue, kind, priority, run_at, id, state) WHERE state <= 1 AND behind = '';

-- Args that are too long to be copied at each change of their job.
-- onceq_jobs.args has their length then, and the first byte of terms is 2.
CREATE TABLE onceq_args (
	seq  INTEGER PRIMARY KEY, -- of the job
	args ANY NOT NULL         -- text when JSON, else a blob
) STRICT;

-- Counts up whenever a run of the worker is asked to stop: the worker's
-- process, which may be another one, sends a heartbeat then.
ALTER TABLE onceq_workers ADD COLUMN stops INTEGER NOT NULL DEFAULT 0;

UPDATE onceq_meta SET value = 2 WHERE name = 'schema';

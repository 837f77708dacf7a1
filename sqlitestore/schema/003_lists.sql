-- Jobs that stand behind another are not in onceq_jobs_due: a list of what
-- waits finds them here, and so does a count.
CREATE INDEX onceq_jobs_behind ON onceq_jobs (queue, id) WHERE behind <> '';

-- Since when a worker sends heartbeats, when the last came, and what the worker
-- says of itself.
ALTER TABLE onceq_workers ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE onceq_workers ADD COLUMN beat_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE onceq_workers ADD COLUMN about TEXT NOT NULL DEFAULT '';

UPDATE onceq_meta SET value = 3 WHERE name = 'schema';

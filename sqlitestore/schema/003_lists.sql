-- Jobs that stand behind another are not in onceq_jobs_due: a list of what
-- waits finds them here, and so does a count.
CREATE INDEX onceq_jobs_behind ON onceq_jobs (queue, id) WHERE behind <> '';

UPDATE onceq_meta SET value = 3 WHERE name = 'schema';

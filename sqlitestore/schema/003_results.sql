-- What the run gave that ended the job, which few jobs have. It is read only
-- by its own statement.
ALTER TABLE onceq_jobs ADD COLUMN result BLOB;

-- Instants are milliseconds of the store's clock. A zero or an empty text
-- means "none": both cost no byte in a row.

-- What this schema is. "schema" is the number of the last file of schema/
-- that was applied.
CREATE TABLE onceq_meta (
	name  TEXT NOT NULL PRIMARY KEY,
	value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

-- A job. What is searched for has a column. The other options of an enqueue
-- are packed in terms (see row.go). What most jobs do not have (meta, tags,
-- errors, superseded by) is JSON in more.
CREATE TABLE onceq_jobs (
	seq         INTEGER PRIMARY KEY,
	id          TEXT    NOT NULL UNIQUE,
	kind        TEXT    NOT NULL,
	queue       TEXT    NOT NULL,
	args        ANY     NOT NULL, -- text when JSON, else a blob
	state       INTEGER NOT NULL, -- 0 scheduled, 1 retryable, 2 running, 3 completed, 4 discarded, 5 cancelled
	priority    INTEGER NOT NULL,
	run_at      INTEGER NOT NULL,
	behind      TEXT    NOT NULL DEFAULT '', -- the ID of the job whose run it stands behind
	attempt     INTEGER NOT NULL DEFAULT 0,
	run         INTEGER NOT NULL DEFAULT 0,
	worker      TEXT    NOT NULL DEFAULT '',
	fetch_no    INTEGER NOT NULL DEFAULT 0,
	key         BLOB    NOT NULL DEFAULT x'',
	key_text    TEXT    NOT NULL DEFAULT '',
	enqueued_at INTEGER NOT NULL,
	anchor      INTEGER NOT NULL DEFAULT 0,
	started_at  INTEGER NOT NULL DEFAULT 0,
	finished_at INTEGER NOT NULL DEFAULT 0,
	prune_at    INTEGER NOT NULL DEFAULT 0,
	terms       BLOB    NOT NULL,
	more        TEXT    NOT NULL DEFAULT ''
) STRICT;

-- Fetch probes one priority after the other, so it never reads rows that
-- run later. kind and state let it skip rows that it does not take.
CREATE INDEX onceq_jobs_due ON onceq_jobs (queue, priority, run_at, id, kind, state) WHERE state <= 1 AND behind = '';
CREATE INDEX onceq_jobs_running ON onceq_jobs (worker, fetch_no) WHERE state = 2;
CREATE INDEX onceq_jobs_prune ON onceq_jobs (prune_at) WHERE state >= 3;
-- The states that people look for, and that few jobs have.
CREATE INDEX onceq_jobs_state ON onceq_jobs (state, id) WHERE state IN (1, 4, 5);

-- A held key. This is the only unique index on keys: it is as large as the
-- held keys, not as the history of jobs.
CREATE TABLE onceq_keys (
	key      BLOB    NOT NULL PRIMARY KEY,
	holder   INTEGER NOT NULL, -- seq of the job; 0 when its row is gone
	pending  INTEGER NOT NULL, -- the event that has not come yet (onceq.Until); 0 = none
	frees_at INTEGER NOT NULL, -- when a clock frees it; 9223372036854775807 = never
	since    INTEGER NOT NULL,
	next     INTEGER NOT NULL DEFAULT 0, -- seq of the waiter
	gone     TEXT    NOT NULL DEFAULT '' -- JSON: the holder whose row is gone
) STRICT, WITHOUT ROWID;
CREATE INDEX onceq_keys_frees ON onceq_keys (frees_at) WHERE frees_at < 9223372036854775807;

CREATE TABLE onceq_workers (
	worker     TEXT    NOT NULL PRIMARY KEY,
	lease_ends INTEGER NOT NULL,
	beat       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many jobs of a queue are in each stored state, kept by every step.
-- due counts up whenever a step makes a job due there; other processes
-- watch it to wake their workers.
CREATE TABLE onceq_queues (
	queue     TEXT    NOT NULL PRIMARY KEY,
	paused    INTEGER NOT NULL DEFAULT 0,
	due       INTEGER NOT NULL DEFAULT 0,
	scheduled INTEGER NOT NULL DEFAULT 0,
	retryable INTEGER NOT NULL DEFAULT 0,
	running   INTEGER NOT NULL DEFAULT 0,
	completed INTEGER NOT NULL DEFAULT 0,
	discarded INTEGER NOT NULL DEFAULT 0,
	cancelled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO onceq_meta VALUES ('schema', 1);

-- What clients and workers note of enqueues and runs: see package tally.
CREATE TABLE onceq_notes (
	name  TEXT    NOT NULL PRIMARY KEY,
	ends  INTEGER NOT NULL, -- when it may be dropped
	value TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

UPDATE onceq_meta SET value = 4 WHERE name = 'schema';

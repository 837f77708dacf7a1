-- Answers with the columns of a job, in their order. A job that is a value of
-- its own, as in job_v1, costs the server a fifth of a fetch.

-- fetch_v3 answers with this: a job that is handed out, or a message without
-- one, and n says what it counts.
drop type if exists {ns}.fetched_v1 cascade;
create type {ns}.fetched_v1 as (
  now bigint, n bigint,
  enqueued_at bigint, run_at bigint, retention bigint, run bigint, anchor bigint,
  started_at bigint, finished_at bigint, fetch_no bigint, timeout bigint, hold_window bigint,
  hold_ttl bigint, attempt integer, max_attempts integer, state smallint, priority smallint,
  hold_until smallint, origin smallint, raw boolean, cancel_requested boolean, keyless boolean,
  from_enqueue boolean, id text, kind text, queue text, key bytea, nonce bytea, digest bytea,
  args bytea, key_text text, worker text, behind text, displaced text, superseded_by text,
  meta json, tags json, errors json, result bytea, trace text, extra bytea,
  retention_failed bigint
);

-- look_v2 answers with this, a held key and its holder, for the same reason;
-- without a job the holder is gone.
drop type if exists {ns}.found_v2 cascade;
create type {ns}.found_v2 as (
  i integer, now bigint, since bigint, frees_at bigint, pending smallint, holder text, gone json,
  enqueued_at bigint, run_at bigint, retention bigint, run bigint, anchor bigint,
  started_at bigint, finished_at bigint, fetch_no bigint, timeout bigint, hold_window bigint,
  hold_ttl bigint, attempt integer, max_attempts integer, state smallint, priority smallint,
  hold_until smallint, origin smallint, raw boolean, cancel_requested boolean, keyless boolean,
  from_enqueue boolean, id text, kind text, queue text, key bytea, nonce bytea, digest bytea,
  args bytea, key_text text, worker text, behind text, displaced text, superseded_by text,
  meta json, tags json, errors json, result bytea, trace text, extra bytea,
  retention_failed bigint
);

drop function if exists {ns}.places_v2(text[], integer[], text[], bigint[], bigint);
drop function if exists {ns}.within_v2(tid[], integer[], bigint);

-- The tables. Instants are whole milliseconds of the server's clock,
-- lengths of time are milliseconds. Columns are ordered by width. What is
-- rarely set, or follows from the rest, is null: a waiting unique job with
-- its key takes about 610 bytes, indexes included.
create table {ns}.jobs (
  enqueued_at      bigint not null,
  run_at           bigint not null,
  retention        bigint,                     -- null = 24 hours
  run              bigint,                     -- the number of the latest run; null = 0
  anchor           bigint,                     -- where hold_window and hold_ttl count from; null = see anchor_of_v1
  started_at       bigint,
  finished_at      bigint,
  fetch_no         bigint,                     -- of its worker, the fetch that started the latest run
  timeout          bigint,                     -- null = none
  hold_window      bigint,                     -- null = none
  hold_ttl         bigint,                     -- null = none
  attempt          integer,                    -- null = 0
  max_attempts     integer not null,
  -- 0 scheduled, 1 retryable, 2 running, 3 completed, 4 discarded, 5 cancelled
  state            smallint not null,
  priority         smallint not null,
  -- 1 due, 2 started, 3 finished, 4 succeeded, 5 failed, 6 deleted, 7 the window ends
  hold_until       smallint,
  origin           smallint,                   -- null = inserted, 4 coalesced, 5 superseded
  raw              boolean not null,           -- args are opaque bytes, not JSON
  cancel_requested boolean not null,
  keyless          boolean not null,           -- it gave up its key for good
  from_enqueue     boolean,                    -- null = false
  id               text collate "C" not null,
  kind             text not null,
  queue            text collate "C" not null,
  key              bytea,
  nonce            bytea not null,             -- of the call that made it, which may be sent twice
  digest           bytea,                      -- of the args by value; null without a key
  args             bytea not null,
  key_text         text,                       -- \x01 stands for kind=…, \x03 for queue=…, \x02 for args=…
  worker           text collate "C",           -- that runs it, or ran it last
  behind           text collate "C",           -- the job that it waits behind
  displaced        text,
  superseded_by    text,
  meta             json,
  tags             json,
  errors           json,                       -- the last five, oldest first
  constraint jobs_pkey primary key (id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- args, key and digest are hashes, or JSON of a few hundred bytes:
-- compressing the large ones costs more than it saves.
alter table {ns}.jobs alter column key set storage plain, alter column nonce set storage plain, alter column digest
  set storage plain;

-- By queue, priority, run time and ID. Priority and run time are one
-- number, because two would be as wide as three. The index grows at the
-- ends of its queues and does not change in between, so pages need no free
-- room.
create index jobs_waiting on {ns}.jobs (queue, ((priority::bigint << 48) + run_at), id) with (fillfactor = 100)
  where state <= 1 and behind is null;
create index jobs_running on {ns}.jobs (worker, fetch_no) where state = 2;
create index jobs_finished on {ns}.jobs ((finished_at + coalesce(retention, 86400000))) where state >= 3;
create index jobs_other on {ns}.jobs (id) where state in (1, 4, 5);

-- A key and its holder. Everything else about the holder is in its row
-- while that is kept, and afterwards in gone.
create table {ns}.keys (
  since    bigint,                             -- null = since its holder was enqueued
  frees_at bigint,                             -- when a clock frees it as things stand; null = never
  pending  smallint not null,                  -- the event that still has to come, as hold_until; 0 = none
  key      bytea not null,
  holder   text collate "C" not null,
  next     text collate "C",                   -- the waiter that stands behind the holder
  gone     json,                               -- what is known of a holder whose row is gone
  constraint keys_pkey primary key (key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
alter table {ns}.keys alter column key set storage plain;

create index keys_clock on {ns}.keys (frees_at) where frees_at is not null;

create table {ns}.workers (
  name       text collate "C" primary key,
  lease_ends bigint not null,
  beat       bigint not null
) with (fillfactor = 50);

-- Only paused queues have a row.
create table {ns}.paused (
  queue text collate "C" primary key
);

-- The answers of functions.

-- An answer to row i. Outcomes: 0 inserted, 1 skipped, 2 rejected, 3
-- replaced, 4 coalesced, 5 superseded. Without a job the holder is gone.
-- c_differ is 1 if the args are the same, 2 if they differ; if it is null,
-- that and c_text can be told from the job. Only the answers of the last
-- try count.
create type {ns}.answer_v1 as (
  try integer, i integer, outcome integer, now bigint, frees_at bigint,
  c_by integer, c_holder text, c_state smallint, c_since bigint, c_frees_at bigint, c_pending smallint, c_text text,
    c_differ integer, c_gone json,
  job {ns}.jobs
);

-- A held key and its holder; without a job the holder is gone.
create type {ns}.found_v1 as (
  i integer, now bigint, since bigint, frees_at bigint, pending smallint, holder text, gone json,
  job {ns}.jobs
);

-- A job that is handed out; or, without a job, a message, and n says what
-- it counts.
create type {ns}.job_v1 as (
  now bigint, n bigint, job {ns}.jobs
);

-- See sweep_v1.
create type {ns}.swept_v1 as (what integer, name text, now bigint, n bigint, job {ns}.jobs);

-- What a run gave, and the trace of the enqueue. Both are null unless
-- somebody asks for them, and at the end of the row, where a null takes no
-- room.
alter table {ns}.jobs add column if not exists result bytea, add column if not exists trace text;

-- Jobs that stand behind another are not in jobs_waiting: a list of what waits
-- finds them here, and so does a count.
create index if not exists jobs_behind on {ns}.jobs (queue, id) where behind is not null;

-- How many jobs of a queue are in a state is counted here, up to a number that
-- the caller names. All entries of a queue and state are alike, so a million of
-- them take 6 MB. What runs is counted in jobs_running: it is as many as the
-- workers have slots.
create index if not exists jobs_states on {ns}.jobs (queue, state) where state in (1, 3, 4, 5);

-- Since when a worker sends heartbeats, when the last came, and what the worker
-- says of itself. They are null for one of an older version.
alter table {ns}.workers add column if not exists since bigint, add column if not exists beat_at bigint,
  add column if not exists about bytea;

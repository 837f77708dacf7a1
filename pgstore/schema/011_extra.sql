-- What else an enqueue said of its job, in the client's own form; null = nothing.
alter table {ns}.jobs add column if not exists extra bytea;

-- How long a discarded or cancelled job is kept; null = as retention says.
alter table {ns}.jobs add column if not exists retention_failed bigint;

-- When a finished job is pruned ({kept} in sweep.sql).
drop index if exists {ns}.jobs_finished;
create index jobs_finished on {ns}.jobs
  ((finished_at + coalesce(case when state > 3 then retention_failed end, retention, 86400000))) where state >= 3;

-- When the pause of a queue ends; the default is never, so until it is resumed.
alter table {ns}.paused add column if not exists until bigint not null default {never};

-- What a run gave, and the trace of the enqueue. Both are null unless
-- somebody asks for them, and at the end of the row, where a null takes no
-- room.
alter table {ns}.jobs add column if not exists result bytea, add column if not exists trace text;

-- Jobs that stand behind another are not in jobs_waiting: a list of what waits
-- finds them here.
create index jobs_behind on {ns}.jobs (id) where behind is not null;

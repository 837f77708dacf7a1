-- Jobs that stand behind another are not in jobs_waiting: a list of what waits
-- finds them here.
create index jobs_behind on {ns}.jobs (id) where behind is not null;

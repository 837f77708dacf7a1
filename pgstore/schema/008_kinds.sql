-- For fetches by kind, see fetch_v2. Kind and queue are one number, which
-- is narrow. No expression is spelled as in jobs_waiting, so that each
-- statement finds the index that it means, even while the tables are empty
-- and the planner knows nothing.
create index jobs_kinds on {ns}.jobs (hashtextextended(kind, hashtextextended(queue, 0)),
  (run_at + (priority::bigint << 48)))
  with (fillfactor = 100) where state <= 1 and behind is null;

-- Functions that programs of the version before call, while they run beside
-- those of this one.

-- Version 7 does not bound fetches by bytes.
create or replace function {ns}.fetch_v1(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[],
  floors bigint[])
returns setof {ns}.job_v1 language plpgsql {safe} as $$
begin
  return query select * from {ns}.fetch_v2(worker, fetch_no, queues, slots, kinds, floors, null);
end $$;

-- Version 7 lists jobs with their args.
create or replace function {ns}.list_v1(below_id text, look integer, few boolean, shown smallint, of_queue text,
  of_kind text, of_key bytea, most integer)
returns table (now bigint, n bigint, last text, job {ns}.jobs) language plpgsql {safe} as $$
begin
  return query select * from {ns}.list_v2(below_id, look, few, shown, of_queue, of_kind, of_key, most,
    9223372036854775807);
end $$;

-- What clients and workers note: see package tally.
--
--   notes_v1  reads notes
--   note_v1   writes them

-- Reads notes by name; the last row has the time alone.
create or replace function {ns}.notes_v1(names text[])
returns table (now bigint, name text, version bigint, value text) language plpgsql {safe} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
begin
  return query select t, n.name, n.version, n.value from {ns}.notes n where n.name = any(names);
  return query select t, null::text, 0::bigint, null::text;
end $$;

-- Writes notes, if all of these have the version that was read (0 = they are not
-- there); else it writes nothing, and answers false. One without a new value
-- stays as it is. Those who note take turns.
create or replace function {ns}.note_v1(names text[], was bigint[], endings bigint[], new_values text[])
returns boolean language plpgsql {safe} as $$
begin
  {guard}
  perform pg_advisory_xact_lock(hashtextextended('onceq notes ' || {ns literal}, 0));
  if exists (select from unnest(names, was) as x(name, was) left join {ns}.notes n on n.name = x.name
    where coalesce(n.version, 0) <> x.was) then
    return false;
  end if;
  insert into {ns}.notes as n (name, version, ends, value)
    select x.name, 1, x.ends, x.value from unnest(names, endings, new_values) as x(name, ends, value)
      where x.value is not null
    on conflict (name) do update set version = n.version + 1, ends = excluded.ends, value = excluded.value;
  return true;
end $$;

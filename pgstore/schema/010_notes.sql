-- What clients and workers note of enqueues and runs: see package tally. ends is
-- when a note may be dropped; version is another one at each change.
create table if not exists {ns}.notes (
  version bigint not null,
  ends    bigint not null,
  name    text collate "C" primary key,
  value   text not null
);

-- What else an enqueue said of its job, in the client's own form; null = nothing.
alter table {ns}.jobs add column if not exists extra bytea;

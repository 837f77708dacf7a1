insert into {ns}.paused (queue) values ($1::text) on conflict (queue) do nothing

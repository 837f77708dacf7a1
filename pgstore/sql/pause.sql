insert into {ns}.paused (queue) values ($1) on conflict (queue) do nothing

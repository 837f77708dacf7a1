delete from {ns}.paused where queue = $1::text

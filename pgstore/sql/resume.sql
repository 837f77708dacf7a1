delete from {ns}.paused where queue operator(pg_catalog.=) $1

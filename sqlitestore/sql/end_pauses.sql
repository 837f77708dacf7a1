-- A program of the version before takes a queue for paused until this is written.
UPDATE onceq_queues SET paused = 0 WHERE paused > 1 AND paused <= ?1

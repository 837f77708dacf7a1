-- paused is 1 until the queue is resumed, else the instant at which the pause ends.
INSERT INTO onceq_queues (queue, paused) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET paused = ?2

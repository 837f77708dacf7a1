INSERT INTO onceq_queues (queue, paused) VALUES (?1, 1) ON CONFLICT (queue) DO UPDATE SET paused = 1

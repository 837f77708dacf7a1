-- How often something became due in the queues in ?1 (a JSON array).
SELECT q.queue, q.due FROM json_each(?1) e CROSS JOIN onceq_queues q ON q.queue = e.value

-- Of rows that were inserted together, those that were.
DELETE FROM onceq_jobs WHERE seq BETWEEN ? AND ?

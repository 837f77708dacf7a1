-- Removes those of the rows inserted together that were inserted.
DELETE FROM onceq_jobs WHERE seq BETWEEN ? AND ?

SELECT {job} FROM onceq_jobs j WHERE j.id = ?1

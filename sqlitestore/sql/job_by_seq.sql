SELECT {job} FROM onceq_jobs j WHERE j.seq = ?1

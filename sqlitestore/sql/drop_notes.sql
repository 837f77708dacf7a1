DELETE FROM onceq_notes WHERE ends <= ?1

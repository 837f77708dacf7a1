DELETE FROM onceq_args WHERE seq = ?1

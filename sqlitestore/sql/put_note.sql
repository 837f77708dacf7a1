INSERT INTO onceq_notes (name, ends, value) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET ends = ?2, value = ?3

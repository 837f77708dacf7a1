package pgstore

// Hope makes a store send rows in the hope that they meet nobody, even where
// they did just now.
func (s *Store) Hope() { s.recent.hopes = true }

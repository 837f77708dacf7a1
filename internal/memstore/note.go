package memstore

import (
	"context"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/tally"
)

// Note adds to what is known of enqueues and runs.
func (s *Store) Note(ctx context.Context, n onceq.Notes) error {
	st, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer st.end()
	changed, err := tally.Add(st.Now, n, s.notes)
	for name, e := range changed {
		s.notes[name] = e.Value
	}
	return err
}

// Stats returns what was noted.
func (s *Store) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.Stats{}, err
	}
	defer st.end()
	return tally.Read(st.Now, r, s.notes)
}

package sqlitestore

import (
	"context"
	"encoding/json"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/tally"
)

var (
	sqlNotes     = load("notes")
	sqlPutNote   = load("put_note")
	sqlDropNotes = load("drop_notes")
)

// Note adds to what is known of enqueues and runs.
func (s *Store) Note(ctx context.Context, n onceq.Notes) error {
	return s.write(ctx, "note", func(st *step) error {
		have, err := st.notes(tally.Names(st.Now))
		if err != nil {
			return err
		}
		changed, err := tally.Add(st.Now, n, have)
		if err != nil {
			return err
		}
		for name, e := range changed {
			if err := st.exec(sqlPutNote, name, e.Ends, e.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// Stats returns what was noted.
func (s *Store) Stats(ctx context.Context, r onceq.StatsRequest) (stats onceq.Stats, err error) {
	err = s.readAll(ctx, "read stats", func(st *step) error {
		have, err := st.notes(tally.Wanted(st.Now, r))
		if err != nil {
			return err
		}
		stats, err = tally.Read(st.Now, r, have)
		return err
	})
	return stats, err
}

// notes reads entries by name.
func (st *step) notes(names []string) (map[string]string, error) {
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	return have, st.each(sqlNotes, 2, func(v []any) error {
		have[text(v[0])] = text(v[1])
		return nil
	}, string(list))
}

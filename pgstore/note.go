package pgstore

import (
	"context"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/tally"
)

// Note adds to what is known of enqueues and runs. A try whose answer was lost
// is repeated: if it was written, the note is found there.
func (s *Store) Note(ctx context.Context, n onceq.Notes) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return s.wrap("note", err)
	}
	defer leave()
	return s.wrap("note", s.retry(ctx, idempotent, func(ctx context.Context) error {
		_, now, err := s.readNotes(ctx, nil)
		if err != nil {
			return err
		}
		return tally.Note(now, n, s.reader(ctx), func(changes []tally.Change) (written bool, err error) {
			names, was, ends, values := []string{}, []int64{}, []int64{}, []*string{}
			for i := range changes {
				c := &changes[i]
				names, was, ends = append(names, c.Name), append(was, c.Was), append(ends, c.Ends)
				if c.Value == "" {
					values = append(values, nil)
				} else {
					values = append(values, &c.Value)
				}
			}
			err = s.query(ctx, s.sql.note, func(r *record) { written = r.bool() }, names, was, ends, values)
			return written, err
		})
	}))
}

// Stats returns what was noted.
func (s *Store) Stats(ctx context.Context, r onceq.StatsRequest) (stats onceq.Stats, err error) {
	err = s.read(ctx, "stats", func(ctx context.Context) error {
		_, now, err := s.readNotes(ctx, nil)
		if err == nil {
			stats, err = tally.Stats(now, r, s.reader(ctx))
		}
		return err
	})
	return stats, err
}

// reader reads entries by name.
func (s *Store) reader(ctx context.Context) func(names []string) (map[string]tally.Kept, error) {
	return func(names []string) (map[string]tally.Kept, error) {
		kept, _, err := s.readNotes(ctx, names)
		return kept, err
	}
}

func (s *Store) readNotes(ctx context.Context, names []string) (kept map[string]tally.Kept, now int64, err error) {
	kept = map[string]tally.Kept{}
	if names == nil {
		names = []string{}
	}
	err = s.query(ctx, s.sql.notes, func(r *record) {
		now = r.int64()
		name, version, value := r.string(), r.int64(), r.string()
		if name != "" {
			kept[name] = tally.Kept{Value: value, Version: version}
		}
	}, names)
	return kept, now, err
}

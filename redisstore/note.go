package redisstore

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/tally"
)

// Note adds to what is known of enqueues and runs, on the first partition. A
// try whose answer was lost is repeated: if it was written, the note is found
// there.
func (s *Store) Note(ctx context.Context, n onceq.Notes) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, now, err := s.readNotes(ctx, nil)
	if err != nil {
		return err
	}
	return tally.Note(now, n, s.reader(ctx), func(changes []tally.Change) (written bool, err error) {
		t := &trip{script: luaNote, args: []any{len(changes)}}
		for _, c := range changes {
			was := ""
			if c.Was > 0 {
				was = string(put48(nil, c.Was))
			}
			t.args = append(t.args, c.Name, was, c.Value)
		}
		for _, letter := range []byte(tally.Letters) {
			keep, of := tally.Lasts(letter)
			t.args = append(t.args, string(letter), of, keep)
		}
		err = s.do(ctx, t)
		if errors.Is(err, onceq.ErrUncertain) && ctx.Err() == nil {
			return false, nil // what is there now tells
		}
		return err == nil && number(t.reply[0]) == 1, err
	})
}

// Stats returns what was noted.
func (s *Store) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Stats{}, err
	}
	defer leave()
	_, now, err := s.readNotes(ctx, nil)
	if err != nil {
		return onceq.Stats{}, err
	}
	return tally.Stats(now, r, s.reader(ctx))
}

// reader reads entries by name.
func (s *Store) reader(ctx context.Context) func(names []string) (map[string]tally.Kept, error) {
	return func(names []string) (map[string]tally.Kept, error) {
		kept, _, err := s.readNotes(ctx, names)
		return kept, err
	}
}

func (s *Store) readNotes(ctx context.Context, names []string) (kept map[string]tally.Kept, now int64, err error) {
	t := &trip{script: luaNotes, args: []any{len(names)}}
	for _, name := range names {
		t.args = append(t.args, name)
	}
	if err := s.do(ctx, t); err != nil {
		return nil, 0, err
	}
	kept = map[string]tally.Kept{}
	for i, name := range names {
		if i < len(t.reply) && len(text(t.reply[i])) >= 6 {
			r := reader{s: text(t.reply[i])}
			version := r.num(6)
			kept[name] = tally.Kept{Value: r.s, Version: version}
		}
	}
	return kept, t.now, nil
}

package redisstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Forms of a partition, as lib.lua tells. A program that knows form 1 alone
// refuses a partition in another form, and names what stands in its "p".
const (
	formOld    = "1"
	formMoving = "m" // from 1 to 2
	formNew    = "2"
)

// formOf is the form of a partition: the first byte of its "v".
func formOf(v string) string { return v[:min(len(v), 1)] }

// quietFor is for how long no worker of a program that knows form 1 alone
// must have been seen before a partition is brought to form 2: while a
// service is deployed, old and new programs share it.
const quietFor = 10 * time.Minute

// perStep is how many jobs are brought over in one script.
const perStep = 500

// placed is what stands in "p": the form, for programs that do not know it,
// and which partition it is of how many.
func placed(part, count int) string {
	return fmt.Sprintf("made by a later version of onceq, in form 2: %d/%d", part, count)
}

// placeOf reads it, in form 1 too.
func placeOf(text string) (part, count int, ok bool) {
	n, _ := fmt.Sscanf(text[strings.LastIndexByte(text, ' ')+1:], "%d/%d", &part, &count)
	return part, count, n == 2 && part >= 0 && part < count && count <= maxPartitions
}

// upgrade brings a partition to form 2, unless a program that does not know
// it was there lately. It may take a second for 200,000 jobs; meanwhile
// calls of other programs wait, and help.
func (s *Store) upgrade(ctx context.Context, part int) error {
	began, jobs := time.Now(), int64(0)
	for {
		t := s.migrateTrip(part)
		if err := s.do(ctx, t); err != nil {
			return err
		}
		jobs += number(t.reply[1])
		switch form := text(t.reply[0]); form {
		case formMoving:
			continue
		case formOld:
			s.log(slog.LevelInfo, "onceq: data stay in the older form", "namespace", s.config.Namespace,
				"hint", "a worker of an older version was seen", "within", quietFor)
		case formNew:
			s.log(slog.LevelInfo, "onceq: data brought to the newest form", "namespace", s.config.Namespace,
				"partition", part, "jobs", jobs, "took", time.Since(began).Round(time.Millisecond))
		}
		return nil
	}
}

func (s *Store) migrateTrip(part int) *trip {
	return &trip{script: luaMigrate, part: part, args: []any{perStep, placed(part, len(s.parts)),
		quietFor.Milliseconds()}}
}

// help goes on with what stands in the way of calls, for a moment, and
// makes them again.
func (s *Store) help(ctx context.Context, waiting []*trip) {
	parts := map[int]bool{}
	for _, t := range waiting {
		parts[t.part] = true
	}
	for deadline := time.Now().Add(100 * time.Millisecond); len(parts) > 0 && time.Now().Before(deadline); {
		var steps []*trip
		for p := range parts {
			t := s.migrateTrip(p)
			t.wire = &wire{token: newToken()}
			steps = append(steps, t)
		}
		s.exchange(ctx, steps, true)
		for _, t := range steps {
			if t.err != nil || text(t.reply[0]) != formMoving {
				delete(parts, t.part)
			}
		}
	}
	s.exchange(ctx, waiting, true)
}

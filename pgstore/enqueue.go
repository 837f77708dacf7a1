package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceq/onceq"
)

// errBusy is the answer under NoWait if an open transaction is in the way.
// It comes within some tens of milliseconds, for all rows, and nothing has
// happened.
var errBusy = errors.New("somebody's transaction has a key that was asked for")

// Enqueue accepts rows in one step: all or none of them.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows, waits := r.Rows, !r.NoWait
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("enqueue", err)
	}
	defer leave()
	if len(rows) == 0 {
		return nil, nil
	}
	if r.NoWait {
		ctx = hurried{ctx}
	}
	b := newBatch(rows)
	if b.plain {
		err = s.insert(ctx, b)
	}
	if err == nil && len(b.open) > 0 {
		err = s.act(ctx, b, waits)
	}
	if err != nil {
		return nil, s.wrap(fmt.Sprintf("enqueue %d", len(rows)), err)
	}
	s.recent.note(b)
	s.waker.tell(b.filled, b.halted...)
	return b.results, nil
}

// recent remembers whether enqueues met jobs lately. If most rows do it pays
// to look first, and while none does it pays not to look at all.
type recent struct {
	met   atomic.Int64 // the share of rows that did, in 1/1024
	unmet atomic.Int64 // rows since the last that did
	hopes bool         // a test wants to hope each time
}

func (r *recent) note(b *batch) {
	met := 0
	for i := range b.results {
		if b.results[i].Conflict != nil {
			met++
		}
	}
	old := r.met.Load()
	r.met.Store(old + (int64(met*1024/len(b.results))-old)/4)
	if met > 0 {
		r.unmet.Store(0)
	} else {
		r.unmet.Add(int64(len(b.results)))
	}
}

// calm reports whether so many rows may be sent in the hope that they meet
// nobody. If they do, all their work is undone and done again. So it is not
// hoped again until the rows that met nobody have saved as much: a row saves
// a quarter of what it costs.
func (r *recent) calm(rows int) bool { return r.hopes || r.unmet.Load() >= int64(4*rows+256) }

func (r *recent) mostly() bool { return r.met.Load() > 512 }

// insert tries the common path. Rows that it leaves open are for act:
// nothing has happened to them.
func (s *Store) insert(ctx context.Context, b *batch) error {
	if s.recent.mostly() {
		if !slices.ContainsFunc(b.open, func(i int) bool { return !b.rows[i].Reactions.Writes() }) {
			return nil // most of them write to a holder, and only act does that
		}
		if err := s.lookUp(ctx, b); err != nil || len(b.open) == 0 || b.writes {
			return err
		}
	}
	a := b.arrays(b.open)
	if (len(b.open) > 1 || s.recent.hopes) && b.made() && s.recent.calm(len(b.open)) && a.alike() {
		if now, met, err := s.insertAlike(ctx, b, a); !met {
			if err == nil && now > 0 {
				b.insertedAll(now)
			}
			return err
		}
	}
	var now int64
	var answered []int
	args := []any{strconv.Itoa(patience)}
	sql := s.sql.insertOne
	if len(b.open) == 1 {
		args = a.first(args)
	} else {
		sql, args = s.sql.insert, append(a.all(args), b.byKey(), b.made())
	}
	err := s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		answered = answered[:0]
		err := s.query(ctx, sql, func(r *record) {
			var i int
			if i, now = b.answer(r); i >= 0 {
				answered = append(answered, i)
			}
		}, args...)
		if err != nil && fateOf(err) == clash {
			return nil // now is still 0
		}
		return err
	})
	if err != nil || now == 0 {
		return err
	}
	for _, i := range answered {
		b.done[i] = true
	}
	b.insertedAll(now)
	return nil
}

// insertAlike inserts rows that differ in no option, in the hope that they
// meet nobody. Where met is true one did, and where now is 0 somebody's
// transaction was in the way. Then nothing has happened.
func (s *Store) insertAlike(ctx context.Context, b *batch, a *arrays) (now int64, met bool, err error) {
	err = s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		err := s.query(ctx, s.sql.insertAlike, func(r *record) { now = r.int64() }, strconv.Itoa(patience), a.ids,
			a.nonces, a.kinds[0], a.queues[0], a.args, a.metas, a.tags, a.keys, a.texts, a.digests,
			a.nums[:len(numbers)], b.byKey())
		if err == nil || fateOf(err) != clash {
			return err
		}
		s.recent.unmet.Store(0)
		var pg *pgconn.PgError
		met = errors.As(err, &pg) && pg.Code == "23505"
		return nil
	})
	return now, met, err
}

// lookUp answers the rows that meet a job and do not write to it.
func (s *Store) lookUp(ctx context.Context, b *batch) error {
	var args []any
	sql, answer := s.sql.look, b.judge
	if ids, keys := b.claimed(b.open); keys != nil {
		args = []any{ids, keys}
	} else {
		a := b.arrays(b.open)
		which := make([]int32, len(b.open))
		for n := range which {
			which[n] = int32(n + 1)
		}
		sql, answer = s.sql.lookup, b.answer
		args = []any{which, a.ids, a.nonces, a.kinds, a.keys, a.nums}
	}
	err := s.retry(ctx, reading, func(ctx context.Context) error {
		for _, i := range b.open {
			b.done[i] = false
		}
		return s.query(ctx, sql, func(r *record) {
			if i, _ := answer(r); i >= 0 {
				b.done[i] = true
			}
		}, args...)
	})
	if err != nil {
		return err
	}
	b.open = slices.DeleteFunc(b.open, func(i int) bool { return b.done[i] })
	if len(args) > 2 { // lookup does not say that a row it leaves open has met a job
		b.writes = slices.ContainsFunc(b.open, func(i int) bool { return b.rows[i].Reactions.Writes() })
	}
	return nil
}

// act takes the careful path. A call that waits holds nothing: no locks,
// and for most of the time no connection.
func (s *Store) act(ctx context.Context, b *batch, waits bool) error {
	b.together()
	a := b.arrays(b.open)
	sql, args := s.sql.actOne, []any{patience}
	if len(b.open) == 1 {
		args = a.first(args)
	} else {
		sql, args = s.sql.act, append(a.all(args), nil, "")
	}
	for n := 0; ; n++ {
		wait := patience
		if n > 0 {
			select {
			case s.waiting <- struct{}{}:
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			case <-s.open.Done():
				return onceq.ErrClosed
			}
			wait = waitingPatience
		}
		if deadline, ok := ctx.Deadline(); ok { // so that the answer comes in time and is certain
			left := time.Until(deadline)
			if n > 0 && left < 2*patience*time.Millisecond {
				<-s.waiting
				<-ctx.Done()
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			}
			wait = max(1, min(wait, int(left.Milliseconds()/2)))
		}
		blocked := false
		err := s.retry(ctx, atMostOnce, func(ctx context.Context) error {
			args[0] = wait
			err := s.query(ctx, sql, func(r *record) { b.note(r) }, args...)
			if err != nil && fateOf(err) == clash {
				blocked = true
				return nil
			}
			return err
		})
		if n > 0 {
			<-s.waiting
		}
		switch {
		case err != nil:
			return err
		case !blocked:
			return b.settle()
		case !waits:
			return errBusy
		}
		if s.pause(ctx, backoff(n)) != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			}
			return onceq.ErrClosed
		}
	}
}

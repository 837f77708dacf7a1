package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
)

const (
	// glance is how long a hurried call waits for a connection.
	glance = time.Second
	// patience is how long a statement waits for a lock of another, in
	// milliseconds. Then it fails and releases everything.
	patience = 20
	// waitingPatience is the same for a call that is known to wait, and has
	// no other lock.
	waitingPatience = 100
	// maxStops is how often in a row a step may be stopped. More often is
	// no accident, but for instance a statement_timeout of the role.
	maxStops = 3
)

// hurried is the context of a call whose rows are sent again one by one if
// it fails: those calls wait for an absent server, and this one need not.
type hurried struct{ context.Context }

// until is the context of a try. An absent server is waited for until then,
// however many tries the call makes.
type until struct {
	context.Context
	end   time.Time
	hurry bool
}

// acquire takes a connection of the pool. It is an error if there is none
// and none can be made within the time allowed for an absent server. A pool
// whose connections are all in use is waited for as long as ctx allows.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	wait := s.config.Patience
	if u, ok := ctx.(until); ok {
		wait = max(time.Until(u.end), 50*time.Millisecond)
		if u.hurry {
			wait = min(wait, glance)
		}
	}
	return acquire(ctx, s.open, s.pool, wait)
}

// acquire gives up when ctx or open ends.
func acquire(ctx, open context.Context, pool *pgxpool.Pool, wait time.Duration) (*pgxpool.Conn, error) {
	for {
		bounded, cancel := context.WithTimeout(ctx, wait)
		stop := context.AfterFunc(open, cancel)
		conn, err := pool.Acquire(bounded)
		expired := bounded.Err() != nil
		stop()
		cancel()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil || open.Err() != nil || !expired {
			return nil, &unsent{err}
		}
		if used := pool.Stat(); used.AcquiredConns() < used.MaxConns() {
			return nil, &unsent{silence(wait)}
		}
	}
}

// reach waits for an absent server, like every call, for what begins without
// a store. It returns why the server cannot be reached.
func reach(ctx context.Context, pool *pgxpool.Pool, patience time.Duration) error {
	end := time.Now().Add(patience)
	var reason error
	for n := 0; ; n++ {
		conn, err := acquire(ctx, context.Background(), pool, max(time.Until(end), 50*time.Millisecond))
		if err == nil {
			conn.Release()
			return nil
		}
		reason = better(ctx, reason, err)
		switch {
		case ctx.Err() != nil && reason != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), explain(reason, pool.Config().ConnConfig, ""))
		case ctx.Err() != nil || fateOf(err) != away:
			return err
		case time.Now().After(end):
			return reason
		}
		select {
		case <-time.After(min(backoff(n), time.Until(end))):
		case <-ctx.Done():
		}
	}
}

// better is the reason to give for some tries that failed: the last one that
// is not only that time was over. The last try may have had too little time
// to hear why it is refused.
func better(ctx context.Context, reason, err error) error {
	var s silence
	if ctx.Err() != nil || reason != nil && fateOf(reason) == away && errors.As(err, &s) {
		return reason
	}
	return err
}

// silence is the error of a server that has not answered for so long. It is
// a net.Error.
type silence time.Duration

func (s silence) Error() string {
	if d := time.Duration(s).Round(time.Second); d > 0 {
		return fmt.Sprintf("no answer within %v", d)
	}
	return "no answer"
}
func (silence) Timeout() bool   { return true }
func (silence) Temporary() bool { return true }

// query runs a statement on a connection of the pool, and passes each row
// to each (nil = rows say nothing).
func (s *Store) query(ctx context.Context, sql string, each func(*record), args ...any) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := ctx.Err(); err != nil {
		return &unsent{err}
	}
	if err := s.fits(conn.Conn()); err != nil {
		return &unsent{err}
	}
	ctx, cancel := linger(ctx)
	defer cancel()
	switch {
	case s.explicit.Load(): // see below
	case s.config.ExecMode == pgx.QueryExecModeCacheStatement:
		return s.prepared(ctx, conn.Conn(), sql, each, args)
	default:
		return query(ctx, conn, s.config.ExecMode, sql, each, args)
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return query(ctx, tx, s.config.ExecMode, sql, each, args)
	})
}

// grace is how much longer than its caller a statement waits for its
// answer. No statement waits for a lock that long, so the answer is
// probably on its way. Cutting the connection would make uncertain what is
// certain.
const grace = 250 * time.Millisecond

// linger returns a context that ends a while after ctx.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil {
		return ctx, func() {}
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var mu sync.Mutex
	var timer *time.Timer
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if longer.Err() == nil {
			timer = time.AfterFunc(grace, cancel)
		}
	})
	return longer, func() {
		stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
	}
}

// rowsQuerier is a connection or a transaction.
type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// inBinary asks for all columns in binary, including rows, which pgx would
// take as text. If only text is possible, record reads that.
var inBinary = pgx.QueryResultFormats{pgx.BinaryFormatCode}

func query(ctx context.Context, q rowsQuerier, mode pgx.QueryExecMode, sql string, each func(*record),
	args []any) error {
	rows, err := q.Query(ctx, sql, append([]any{mode, inBinary}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	r := record{fields: rows.FieldDescriptions()}
	for rows.Next() {
		if each != nil {
			r.raw, r.at = rows.RawValues(), 0
			each(&r)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if r.err != nil {
		return &garbled{r.err}
	}
	return nil
}

// repeat says what may be done after an answer was lost.
type repeat uint8

const (
	atMostOnce repeat = iota // nothing, because the step may have happened
	idempotent               // send it again: a second time changes nothing
	reading                  // send it again: it changes nothing
)

// retry repeats a step that did not happen, because others were in the way
// or the server was away. If r allows it, it also repeats a step whose
// answer was lost. Once an answer was lost, only an answer makes it certain
// what happened: any other end is onceq.ErrUncertain.
func (s *Store) retry(ctx context.Context, r repeat, step func(context.Context) error) error {
	var since time.Time // when the tries that did not reach the server began
	var reason error    // why the last try failed whose context had not ended
	unsure, stops := false, 0
	_, hurry := ctx.(hurried)
	fail := func(err error) error {
		if unsure {
			return fmt.Errorf("%w: %w", onceq.ErrUncertain, err)
		}
		return err
	}
	for n := 0; ; n++ {
		began := time.Now()
		try := until{Context: ctx, end: began.Add(s.config.Patience), hurry: hurry}
		if !since.IsZero() {
			try.end = since.Add(s.config.Patience)
		}
		err := step(try)
		if err == nil {
			return nil
		}
		f := fateOf(err)
		if f == readOnly {
			f, err = s.whyReadOnly(ctx, err)
		}
		reason = better(ctx, reason, err)
		_, senseless := err.(*garbled)
		switch f {
		case final:
			return fail(s.explain(err))
		case snapshot:
			s.goExplicit()
			continue
		case clash:
			since = time.Time{}
		case stopped:
			since = time.Time{}
			if stops++; stops == maxStops {
				return fail(s.explain(err))
			}
		case lost, away:
			if f == lost && r != reading {
				unsure = true
			}
			if since.IsZero() {
				since = began
			}
			if senseless || f == lost && r == atMostOnce || hurry ||
				time.Since(since) > s.config.Patience {
				if ctx.Err() == nil {
					err = reason
				}
				return fail(s.explain(err))
			}
		}
		if s.pause(ctx, backoff(n)) == nil {
			continue
		}
		switch {
		case ctx.Err() == nil:
			return fail(onceq.ErrClosed)
		case reason == nil || errors.Is(reason, ctx.Err()):
			return fail(s.explain(err))
		}
		return fail(fmt.Errorf("%w: %w", ctx.Err(), s.explain(reason)))
	}
}

// backoff is how long to wait before try n + 1: 1 to 50 ms and more, with
// jitter.
func backoff(n int) time.Duration {
	top := time.Millisecond << min(n, 6)
	return top/2 + rand.N(top)
}

// pause waits, unless ctx or the store ends.
func (s *Store) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.open.Done():
		return onceq.ErrClosed
	}
}

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// strict is a logger that fails the test once the store is closed.
type strict struct {
	testing.TB
	closed atomic.Bool
}

func (s *strict) Enabled(context.Context, slog.Level) bool { return true }
func (s *strict) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *strict) WithGroup(string) slog.Handler            { return s }
func (s *strict) Handle(_ context.Context, r slog.Record) error {
	if s.closed.Load() {
		s.Errorf("logged after Close: %s", r.Message)
	}
	return nil
}

// When Close is back, nothing of the store runs, logs or holds a
// connection, whatever was under way.
func TestNothingOfAStoreIsLeftWhenCloseIsBack(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t).Close()
	for name, url := range map[string]string{"opened": d.url,
		"behind a pooler that lets nothing be heard": bouncer(t)} {
		for _, own := range []bool{false, true} {
			before := goleak.IgnoreCurrent()
			log := &strict{TB: t}
			app := fmt.Sprint(len(name), own, d.schema) // a pooler keeps its connections
			at := with(t, with(t, url, "application_name", app), "default_query_exec_mode", "exec")
			config := &pgstore.Config{Namespace: d.schema, NoMigrate: true, Logger: slog.New(log)}
			var pool *pgxpool.Pool
			var s *pgstore.Store
			var err error
			if own {
				pool, err = pgxpool.New(context.Background(), at)
				if err == nil {
					s, err = pgstore.New(pool, config)
				}
			} else {
				s, err = pgstore.Open(context.Background(), at, config)
			}
			if err != nil {
				t.Fatal(err)
			}
			h := handOf(t, d, s)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for _, worker := range []string{"", "w"} {
				if _, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}, Worker: worker}); err != nil {
					t.Fatal(err)
				}
			}
			ended, end := context.WithCancel(context.Background())
			if _, err := s.Wake(ended, onceq.WakeRequest{Queues: []string{"default"}}); err != nil {
				t.Fatal(err)
			}
			end()
			// An enqueue that waits for somebody's transaction, and others that notify.
			tx, inTx := h.begin(pgx.TxOptions{})
			r, err := inTx.Enqueue(h.ctx, task(1), aKey)
			h.must(err)
			waits := make(chan error, 1)
			go func() {
				_, err := s.Enqueue(context.Background(),
					onceq.EnqueueRequest{Rows: []onceq.NewRow{rowWithKey(*r.Job.Key)}})
				waits <- err
			}()
			h.soon("it waits", h.blocked)
			h.enqueue(onceq.Inserted, task(2))
			h.client.Close()

			if err := s.Close(); err != nil {
				t.Error(err)
			}
			log.closed.Store(true)
			if err := <-waits; !errors.Is(err, onceq.ErrClosed) {
				t.Errorf("%s: the enqueue that waited: %v", name, err)
			}
			if pool != nil {
				pool.Close()
			}
			h.must(tx.Rollback(h.ctx))
			h.soon("all its connections are gone", func() bool {
				return name != "opened" || one[int](t, d,
					"select count(*) from pg_stat_activity where application_name = $1", app) == 0
			})
			if err := goleak.Find(before); err != nil {
				t.Errorf("%s, own pool %v: %v", name, own, err)
			}
			h.exec(t, "truncate {ns}.jobs, {ns}.keys")
		}
	}
}

// rowWithKey is an enqueue as it crosses the seam.
func rowWithKey(key onceq.Key) onceq.NewRow {
	return onceq.NewRow{ID: "a row", Kind: "task", Queue: "default", Args: []byte("1"), Encoding: onceq.EncodingJSON,
		MaxAttempts: 1, Retention: time.Hour,
		Claim: &onceq.Claim{Key: key, Text: "a key", Hold: onceq.Hold{Until: onceq.UntilFinished}}}
}

// noticed is a context that tells when somebody begins to wait for its end.
type noticed struct {
	context.Context
	once    sync.Once
	reached chan struct{}
}

func (n *noticed) Done() <-chan struct{} {
	n.once.Do(func() { close(n.reached) })
	return n.Context.Done()
}

// A call that waits for a connection of the caller's pool holds up nobody
// who closes the store.
func TestCloseWaitsForNoConnectionOfTheCallers(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	pool := d.pool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	s, err := pgstore.New(pool, &pgstore.Config{Namespace: d.schema, NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	got := make(chan error, 1)
	ctx := &noticed{Context: context.Background(), reached: make(chan struct{})}
	go func() { _, err := s.Get(ctx, []string{"x"}); got <- err }()
	<-ctx.reached
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for a connection that its caller has")
	}
	if err := <-got; !errors.Is(err, onceq.ErrClosed) {
		t.Errorf("the call: %v", err)
	}
}

// The connection that listens may be on its way to a host that answers
// nothing.
func TestCloseWaitsForNoServerThatIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := goleak.IgnoreCurrent()
	pool, err := pgxpool.New(context.Background(), "postgres://app@"+l.Addr().String()+"/x?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wake(context.Background(), onceq.WakeRequest{Queues: []string{"default"}}); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept() // it listens, and hears nothing
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	pool.Close()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A call that is under way when the store is closed ends with its own
// answer, and Close waits for it.
func TestCloseWaitsForTheCallsThatAreUnderWay(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	pool, err := pgxpool.New(context.Background(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := pgstore.New(pool, &pgstore.Config{Namespace: d.schema})
	if err != nil {
		t.Fatal(err)
	}
	h := handOf(t, d, s)
	h.exec(t, `create function {ns}.slow() returns trigger language plpgsql as $$ begin
			perform pg_sleep(0.5); return new; end $$;
		create trigger slow before insert on {ns}.jobs for each row execute function {ns}.slow()`)
	answer := make(chan error, 1)
	go func() {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: []onceq.NewRow{rowWithKey(onceq.Key{1})}})
		answer <- err
	}()
	h.soon("it is under way", func() bool {
		return one[int](t, d, `select count(*) from pg_stat_activity
			where wait_event = 'PgSleep' and query like '%' || $1 || '%'`, d.schema) == 1
	})
	h.must(s.Close())
	if n := h.jobs(); n != 1 {
		t.Errorf("Close is back and there are %d jobs, want 1", n)
	}
	h.must(<-answer)
}

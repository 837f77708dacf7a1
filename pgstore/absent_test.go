package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// Whatever path a call takes, and Open too, an absent server is waited for
// Config.Patience and no longer. The error says where it was looked for.
func TestAnAbsentServerIsWaitedForOnceWhateverPathACallTakes(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	at := with(t, server.URL(), "password", "secret")
	config := &pgstore.Config{Patience: time.Second}
	s, err := pgstore.Open(context.Background(), at, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	if _, err := c.Enqueue(ctx, task(0)); err != nil {
		t.Fatal(err)
	}
	server.Signal(syscall.SIGINT)
	for range 20 { // what was connected is found to be dead, and forgotten
		_, _ = s.Queues(expired(t), onceq.QueuesRequest{})
	}
	pool, err := pgxpool.New(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var all sync.WaitGroup
	for name, call := range map[string]func() error{
		"open": func() error { _, err := pgstore.Open(ctx, at, config); return err },
		"open, no migrate": func() error {
			_, err := pgstore.Open(ctx, at, &pgstore.Config{NoMigrate: true, Patience: config.Patience})
			return err
		},
		"migrate": func() error { return pgstore.Migrate(ctx, pool, config) },
		"status":  func() error { _, err := pgstore.Status(ctx, pool, config); return err },
		"enqueue": func() error { _, err := c.Enqueue(ctx, task(1)); return err },
		"enqueue many": func() error {
			_, err := c.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(task(1)), onceq.NewItem(task(2))})
			return err
		},
		"together": func() error { _, err := c.Enqueue(ctx, task(2), aKey); return err },
		"get":      func() error { _, err := s.Get(ctx, []string{"x"}); return err },
		"cancel":   func() error { _, err := c.Cancel(ctx, "x"); return err },
		"fetch": func() error {
			_, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
			return err
		},
		"extend": func() error {
			_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
			return err
		},
	} {
		all.Go(func() {
			began := time.Now()
			err := call()
			if took := time.Since(began); took < config.Patience*9/10 || took > config.Patience+8*time.Second {
				t.Errorf("%s: it took %v, want some %v", name, took, config.Patience)
			}
			wantError(t, err, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", server.Port()),
				"connection refused", "is the server running")
			if n := strings.Count(err.Error(), "refused"); n != 1 {
				t.Errorf("%s: %v\nsays it %d times", name, err, n)
			}
		})
	}
	all.Wait()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, enqueued := c.Enqueue(short, task(1))
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, opened := pgstore.Open(short, at, nil)
	for _, err := range []error{enqueued, opened} {
		wantError(t, err, "deadline exceeded", "connection refused", "is the server running")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is no end of its context", err)
		}
	}
}

func expired(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A host that answers nothing is as absent as one that refuses.
func TestAServerThatIsSilentIsAbsent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := "postgres://app:secret@" + l.Addr().String() + "/x?sslmode=disable"
	patience := &pgstore.Config{Patience: 600 * time.Millisecond}
	began := time.Now()
	_, err = pgstore.Open(context.Background(), at, patience)
	if took := time.Since(began); took < 500*time.Millisecond || took > 6*time.Second {
		t.Errorf("open took %v, want some 0.6s", took)
	}
	wantError(t, err, "postgres://app@"+l.Addr().String()+"/x", "is the server running")
	s := storeAt(t, at, patience, true)
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began = time.Now()
	_, err = c.Enqueue(context.Background(), task(1))
	if took := time.Since(began); took < 500*time.Millisecond || took > 6*time.Second {
		t.Errorf("enqueue took %v, want some 0.6s", took)
	}
	wantError(t, err, "no answer within", "is the server running")
}

// What is wrong with a URL is said at once, with the way out, and without
// the password.
func TestAStoreThatCannotBeOpenedSaysWhatToDo(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "pg_hba.conf")
	if err := os.WriteFile(rules,
		[]byte("host all postgres 127.0.0.1/32 trust\nhost all outcast 127.0.0.1/32 reject\nhost all all "+
			"127.0.0.1/32 scram-sha-256\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(rules); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := pgtest.Start(t, "-c", "hba_file="+rules)
	conn, err := pgx.Connect(context.Background(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{"create role app login password 'secret'", "create role outcast login",
		"create role busy login password 'secret' connection limit 0", "create role reader login password 'secret'"} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	host := fmt.Sprintf("127.0.0.1:%d", server.Port())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for name, one := range map[string]struct {
		url  string
		says []string
	}{
		"wrong password": {"postgres://app:a-secret-too@" + host + "/postgres",
			[]string{"postgres://app@" + host + "/postgres", "28P01", "is the password right"}},
		"no password": {"postgres://app@" + host + "/postgres", []string{"no password was given", "PGPASSWORD"}},
		"no such role": {"postgres://nobody:secret@" + host + "/postgres",
			[]string{"postgres://nobody@" + host, "is the password right"}},
		"rejected":         {"postgres://outcast:secret@" + host + "/postgres", []string{"pg_hba.conf", `"outcast"`}},
		"no such database": {"postgres://app:secret@" + host + "/shop", []string{"3D000", `createdb "shop"`}},
		"no TLS": {"postgres://app:secret@" + host + "/postgres?sslmode=require",
			[]string{"refused TLS", "sslmode=disable"}},
		"wrong port": {"postgres://app:secret@" + free.Addr().String() + "/postgres",
			[]string{"postgres://app@" + free.Addr().String(), "connection refused", "host and port"}},
		"no such host": {"postgres://app:secret@no-such-host.invalid/postgres",
			[]string{"no-such-host.invalid", "name of the host"}},
		"too many": {"postgres://busy:secret@" + host + "/postgres", []string{"53300", "pool_max_conns"}},
		"may not create": {"postgres://reader:secret@" + host + "/postgres",
			[]string{"42501", `grant create on database "postgres" to "reader"`}},
		"not a number": {"postgres://app:secret@" + host + "/postgres?pool_max_conns=many",
			[]string{"pool_max_conns", host}},
		"no such sslmode": {"postgres://app:secret@" + host + "/postgres?sslmode=perhaps", []string{"sslmode"}},
		"no URL":          {"app secret", []string{"postgres://user:password@host:port/database"}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			s, err := pgstore.Open(context.Background(), one.url, &pgstore.Config{Patience: time.Second})
			if err == nil {
				s.Close()
			}
			wantError(t, err, one.says...)
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A URL that cannot be read is not repeated: nobody can tell what of it is
// the password.
func TestNoPartOfAPasswordIsInAnErrorWhateverSignsItHas(t *testing.T) {
	t.Parallel()
	for _, form := range []string{
		"postgres://app:%s@127.0.0.1:1/x", "postgresql://app:%s@127.0.0.1:1/x?sslmode=disable",
		"postgres://app:%s@127.0.0.1:1/x?pool_max_conns=no",
		"postgres://app:%s@127.0.0.1:port/x", "postgres://app:%s@[::1/x",
		"postgres://127.0.0.1:1/x?user=app&password=%s&connect_timeout=none",
		"host=127.0.0.1 port=1 user=app password=%s connect_timeout=none", "user=app password='%s",
		"host=127.0.0.1 password=%s x",
	} {
		for _, password := range []string{"hunter2", "hun#ter2", "hun/ter2", "hun?ter2", "hun@ter2", "hun:ter2",
			"hun%ter2", "hun ter2", "hun%zzter2", "12/hunter2", "1?hunter2", "1#hunter2", "hun\\ter2", "hun'ter2",
			"hun]ter2", "`: hunter2"} {
			s, err := pgstore.Open(context.Background(), fmt.Sprintf(form, password),
				&pgstore.Config{Namespace: "none", Patience: 20 * time.Millisecond})
			if err == nil {
				s.Close()
				t.Fatalf("%s opened", form)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, "hun") ||
					strings.Contains(text, "ter2") {
					t.Errorf("%s with %s:\n%s", form, password, text)
				}
			}
		}
	}
}

// A standby is waited for, because it may be about to become the primary.
func TestAStandbyIsNamedAndUsedOnceItIsThePrimary(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	d := &database{url: server.URL(), schema: "onceq"}
	s := storeAt(t, server.URL(), nil, false)
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := server.Standby(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // it reads; what was connected before is found to be dead, and forgotten
		_, _ = s.Queues(expired(t), onceq.QueuesRequest{})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err = c.Enqueue(ctx, task(1))
	wantError(t, err, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres is a standby", server.Port()),
		"target_session_attrs=read-write")
	done := make(chan error, 1)
	go func() { _, err := c.Enqueue(context.Background(), task(2)); done <- err }()
	conn, err := pgx.Connect(context.Background(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A pool that its owner has closed is no server that may come back.
func TestAPoolThatWasClosedIsNotWaitedFor(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	other := newDatabase(t, pgtest.URL(t))
	s, err := pgstore.New(other.admin, &pgstore.Config{Namespace: d.schema})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pool := other.admin
	other.admin = d.admin // for the cleanup
	pool.Close()
	began := time.Now()
	_, err = s.Get(context.Background(), []string{"x"})
	wantError(t, err, "closed pool")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A server that starts while a store is opened is waited for.
func TestOpenWaitsForAServerThatStarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	server.Signal(syscall.SIGINT)
	opened := make(chan error, 1)
	go func() {
		s, err := pgstore.Open(context.Background(), server.URL(), &pgstore.Config{Patience: time.Minute})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("open did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

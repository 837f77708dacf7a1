package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

func enqueueOne(ctx context.Context, s *Store, id string) error {
	_, err := s.Enqueue(ctx,
		onceq.EnqueueRequest{Rows: []onceq.NewRow{{ID: id, Kind: "k", Queue: "q", MaxAttempts: 1}}})
	return err
}

// TestWhatIsWrongWithTheServerIsSaid: where it is, without its password,
// and the way out.
func TestWhatIsWrongWithTheServerIsSaid(t *testing.T) {
	t.Parallel()
	locked := redistest.Start(t, "--requirepass", "S3CRET")
	open := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", strings.Replace(open.Addr, ":", " ", 1))
	nobody := redistest.FreeAddr(t)
	stranger := speaking(t, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	silent := speaking(t, "")
	for _, c := range []struct {
		url  string
		want []string
	}{
		{"redis://:WR0NG@" + locked.Addr, []string{"redis://" + locked.Addr, "password"}},
		{"redis://ada:WR0NG@" + locked.Addr + "/3", []string{"redis://ada@" + locked.Addr + "/3", "password is wrong",
			"URL-encoded"}},
		{"redis://" + locked.Addr, []string{"asks for a password"}},
		{"redis://" + open.Addr + "/99", []string{"no database of this number"}},
		{"redis://:WR0NG@" + nobody, []string{"redis://" + nobody, "nobody listens there", "port"}},
		{"redis://" + stranger, []string{"not Redis"}},
		{"redis://" + silent + "?read_timeout=100ms", []string{"redis://" + silent, "does not answer in time"}},
		{"rediss://" + open.Addr + "?dial_timeout=200ms", []string{"rediss://" + open.Addr,
			"redis:// in place of rediss://"}},
		{"redis+cluster://" + open.Addr, []string{"not a cluster"}},
		{"redis://no-such-host.invalid:6379", []string{"host's name"}},
		{"unix:///no/such/socket", []string{"path of the socket"}},
		{"redis://" + replica.Addr, []string{"replica", "name the master"}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		s, err := Open(ctx, c.url, &Config{Logger: quiet, Patience: 50 * time.Millisecond})
		cancel()
		if err == nil {
			_ = s.Close()
			t.Errorf("%s was opened", c.url)
			continue
		}
		for _, part := range append(c.want, "redisstore: ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v\nwant it to say %q", c.url, err, part)
			}
		}
		if strings.Contains(err.Error(), "WR0NG") || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: the error tells the password: %v", c.url, err)
		}
	}
}

// speaking is a server that says the same to everybody who connects; "" =
// nothing.
func speaking(t *testing.T, words string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	over := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		close(over)
		open.Wait()
	})
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = c.Close() }()
				if words == "" {
					<-over
					return
				}
				_, _ = c.Read(make([]byte, 1))
				_, _ = c.Write([]byte(words))
			})
		}
	})
	return l.Addr().String()
}

// TestAURLThatDoesNotParseKeepsItsPassword: what is wrong with it may be
// the password.
func TestAURLThatDoesNotParseKeepsItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://:S3C%RET@h", "redis://:S3C%RETpw@h:1/0", "redis://u:S3CRET/x@h:6379", "redis://u:S3CRET?x=1@h",
		"redis://u:S3CRET#x@h",
		"redis://:S3CRET", "redis://h/S3CRET@x", "redis://:12/S3CRET@h", "redis://:12?S3CRET=1@h",
		"rediss://:S3CRET@h:port", "redis://u:S3CRET@h/x",
		"redis+sentinel://u:S3C%RET@h/m", "redis+sentinel://u:S3CRET@h1,,h2/m", "redis+cluster://u:S3CRET/x@h",
		"redis+sentinel://u:S3CRET@h/m/x",
		"redis+cluster://u:S3CRET@h/1", "unix://u:S3C%RET@/tmp/x", "redis:S3CRET@h", "redis//:S3CRET@h", "S3CRET",
		"redis://h:6379/0?password=S3CRET&x=y",
		"redis+sentinel://:S3CRET", "redis+cluster://:S3CRET,h",
	} {
		_, err := Open(t.Context(), url, &Config{Logger: quiet, Patience: time.Millisecond})
		if err == nil {
			t.Errorf("%q was opened", url)
		} else if strings.Contains(err.Error(), "S3C") {
			t.Errorf("%q: the error tells the password: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"redis://ada:pw@h:1/2?dial_timeout=1s":     "redis://ada@h:1/2",
		"redis://:pw@h":                            "redis://h",
		"redis://h:6379/0":                         "redis://h:6379/0",
		"redis+sentinel://u:p@h1,h2:1/m/3":         "redis+sentinel://u@h1,h2:1/m/3",
		"redis+cluster://[::1]:7,[fe80::],h":       "redis+cluster://[::1]:7,[fe80::],h",
		"unix:///tmp/redis.sock?db=1":              "unix:///tmp/redis.sock",
		"redis://u:p%40%2F@h:1":                    "redis://u@h:1",
		"redis://u:p/w@h:1":                        "redis://…@h:1",
		"redis://h:notaport":                       "redis://…",
		"rediss+cluster://:pw@h1:6379,h2:6379":     "rediss+cluster://h1:6379,h2:6379",
		"redis://u:p@h/0?client_name=u:secret@who": "redis://u@h/0",
	} {
		if got := redacted(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

// TestAnAbsentServerIsWaitedForOnce, for Config.Patience, by every method
// and by Open.
func TestAnAbsentServerIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const patience = 300 * time.Millisecond
	s := open(t, server.URL(), Config{Namespace: namespace(), Patience: patience, Partitions: 3})
	server.Kill()
	for name, call := range methods(s) {
		began := time.Now()
		err := call(context.Background())
		took := time.Since(began)
		if err == nil || errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%s without a server: %v, want a definite error", name, err)
		} else if !strings.Contains(err.Error(), "redis://"+server.Addr) ||
			!strings.Contains(err.Error(), "is the server up") {
			t.Errorf("%s without a server: %v, want it to say what to do", name, err)
		}
		if took < patience/2 {
			t.Errorf("%s gave up after %v, want %v", name, took, patience)
		}
		if n := s.tries.Swap(0); n > 30 { // 2, 4, 8 … 128 ms, and the connections that were open
			t.Errorf("%s tried %d times", name, n)
		}
	}
	began := time.Now()
	if _, err := Open(t.Context(), server.URL(), &Config{Logger: quiet, Patience: patience}); err == nil ||
		time.Since(began) < patience/2 {
		t.Errorf("Open without a server: %v after %v", err, time.Since(began))
	}
	opened := make(chan error, 1)
	go func() {
		s, err := Open(context.Background(), server.URL(), &Config{Logger: quiet, Patience: time.Minute})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	server.Restart()
	if err := <-opened; err != nil {
		t.Errorf("Open while the server starts: %v", err)
	}
}

// The last try of a call may be cut short by the end of its context, and then
// knows only that. What the tries before it met is said.
func TestATryThatIsCutShortDoesNotHideWhyTheOthersFailed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const through, refuses = -1000, 3
	var tries atomic.Int64 // to connect; those after the third hang
	over := make(chan struct{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch n := tries.Add(1); {
			case n < 0:
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			case n <= refuses:
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			<-over
			return nil, errors.New("the test is over")
		}})
	made := newDials() // else the library goes on trying after the end of the test
	made.attach(client)
	defer client.Close()
	defer made.close()
	defer close(over)
	check := func(name string, call func(context.Context) error) {
		t.Helper()
		tries.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		err := call(ctx)
		if err == nil || !strings.Contains(err.Error(), "nobody listens there") ||
			!errors.Is(err, context.DeadlineExceeded) || errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%s: %v (%d tries), want it to say that nobody listens, and that time was over", name, err,
				tries.Load())
		}
	}
	config := Config{Namespace: namespace(), Logger: quiet, Patience: time.Minute}
	check("NewContext", func(ctx context.Context) error {
		_, err := NewContext(ctx, client, &config)
		return err
	})
	tries.Store(through)
	s, err := New(client, &config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server.Kill()
	for name, call := range methods(s) {
		check(name, call)
	}
}

// Callers who share a trip send their rows again one by one if it fails, so
// that the trip must not have waited as long as they will.
func TestAnEnqueueThatMayNotWaitDoesNotWaitForAnAbsentServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Namespace: namespace(), Patience: 10 * time.Minute})
	server.Kill()
	rows := make([]onceq.NewRow, 3)
	for i := range rows {
		rows[i] = onceq.NewRow{ID: fmt.Sprint(i), Kind: "k", Queue: "q", Encoding: onceq.EncodingBytes, MaxAttempts: 1,
			Retention: time.Hour}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows, NoWait: true})
	if err == nil || errors.Is(err, onceq.ErrUncertain) || ctx.Err() != nil {
		t.Errorf("%v (%v): want a definite error, soon", err, ctx.Err())
	}
}

// methods calls each method of a store.
func methods(s *Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Enqueue": func(ctx context.Context) error { return enqueueOne(ctx, s, "a") },
		"Fetch": func(ctx context.Context) error {
			_, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
				Queues: []onceq.QueueSlots{{Queue: "q", Slots: 1}}})
			return err
		},
		"Extend": func(ctx context.Context) error {
			_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
			return err
		},
		"Finish": func(ctx context.Context) error {
			_, err := s.Finish(ctx,
				onceq.FinishRequest{Runs: []onceq.Finish{{ID: "a", Run: 1, Worker: "w", State: onceq.Completed}}})
			return err
		},
		"Cancel": func(ctx context.Context) error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{"a"}})
			return err
		},
		"Pause": func(ctx context.Context) error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpPause, Queue: "q"})
			return err
		},
		"Release": func(ctx context.Context) error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpRelease, Key: onceq.Key{1}})
			return err
		},
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, []string{"a"}); return err },
		"List":   func(ctx context.Context) error { _, err := s.List(ctx, onceq.ListRequest{Limit: 1}); return err },
		"Keys":   func(ctx context.Context) error { _, err := s.Keys(ctx, onceq.KeysRequest{Limit: 1}); return err },
		"Queues": func(ctx context.Context) error { _, err := s.Queues(ctx, onceq.QueuesRequest{}); return err },
		"Sweep": func(ctx context.Context) error {
			_, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 1, Lost: []onceq.Beat{{Worker: "x", No: -1}}})
			return err
		},
		"Check": func(ctx context.Context) error { _, err := s.Check(ctx); return err },
	}
}

// TestWhatWasNeverSentIsDefinite, whatever kept it from being sent.
func TestWhatWasNeverSentIsDefinite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var broken atomic.Bool
	own := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1, PoolTimeout: 20 * time.Millisecond,
		ConnMaxLifetime: time.Nanosecond,
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			if broken.Load() {
				return "", "", errors.New("the office that gives out tokens is closed")
			}
			return "", "", nil
		}})
	t.Cleanup(func() { _ = own.Close() })
	s, err := New(own, &Config{Logger: quiet, Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	broken.Store(true)
	if err := enqueueOne(t.Context(), s, "a"); err == nil || errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("without credentials: %v, want a definite error", err)
	}
	broken.Store(false)
	if err := enqueueOne(t.Context(), s, "b"); err != nil {
		t.Error(err)
	}
	// All connections are in use.
	held := own.Conn()
	if err := held.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := enqueueOne(t.Context(), s, "c"); err == nil || errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("without a connection: %v, want a definite error", err)
	}
	_ = held.Close()
	if jobs, err := s.Get(t.Context(), []string{"a", "b", "c"}); err != nil || jobs[0] != nil || jobs[1] == nil ||
		jobs[2] != nil {
		t.Errorf("jobs %v, %v", jobs, err)
	}
}

// TestCredentialsThatChangeAreAskedForAtEachConnection: the store and its
// subscription go on when the password is another by now.
func TestCredentialsThatChangeAreAskedForAtEachConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var password atomic.Value
	password.Store("first")
	server.Do("acl", "setuser", "jobs", "on", ">first", "~*", "&*", "+@all")
	own := redis.NewClient(&redis.Options{Addr: server.Addr, CredentialsProvider: func() (string, string) {
		return "jobs", password.Load().(string)
	}})
	t.Cleanup(func() { _ = own.Close() })
	s, err := New(own, &Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	wake, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	server.Do("acl", "setuser", "jobs", "resetpass", ">second")
	password.Store("second")
	server.Do("client", "kill", "type", "normal", "user", "jobs")
	server.Do("client", "kill", "type", "pubsub")
	if err := enqueueOne(t.Context(), s, "a"); err != nil && !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("after the password has changed: %v", err)
	}
	for range 100 { // the subscription is made again, and says so
		if len(wake) > 0 {
			break
		}
		<-wake
	}
	other := open(t, server.URL(), Config{})
	for i := 0; ; i++ {
		if err := s.wakes.await(t.Context(), onceq.WakeRequest{Queues: []string{"q"}}); err != nil {
			t.Fatal(err)
		}
		if err := enqueueOne(t.Context(), other, fmt.Sprint("b", i)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if i == 400 {
			t.Fatal("nothing wakes after the password has changed")
		}
	}
}

// TestACallersClientGetsTheSettingsThatAreNeeded: what it says about
// retries and contexts is not relied on, and its own settings stay.
func TestACallersClientGetsTheSettingsThatAreNeeded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	for _, protocol := range []int{2, 3} {
		own := redis.NewClient(&redis.Options{Addr: proxy.addr, Protocol: protocol, MaxRetries: 5, ReadTimeout: -1,
			WriteTimeout: -1})
		t.Cleanup(func() { _ = own.Close() })
		s, err := New(own, &Config{Namespace: namespace(), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		// A call ends with its context, although the answer does not come.
		held := proxy.hold("evalsha")
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() { answered <- enqueueOne(ctx, s, "a") }()
		<-held
		ctx2, cancel2 := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := s.Get(ctx2, []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("RESP%d: a call whose context is over: %v", protocol, err)
		}
		cancel2()
		proxy.release()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		cancel()
		// Nothing is sent twice behind the store's back.
		proxy.word.Store("evalsha")
		proxy.cut.Store(1)
		if err := enqueueOne(t.Context(), s, "b"); !errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("RESP%d: an enqueue whose answer was cut: %v, want it to be uncertain", protocol, err)
		}
		proxy.cut.Store(0)
		if o := own.Options(); o.ContextTimeoutEnabled || o.MaxRetries != 5 || o.ReadTimeout > 0 {
			t.Errorf("the caller's settings were changed: %+v", o)
		}
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(300, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Enqueue(t.Context(), task{5}, onceq.Unique{}, onceq.OnConflict(onceq.Coalesce)); err != nil {
			t.Fatal(err)
		}
		healthy(t, s)
		sound(t, s)
	}
}

func TestAClientThatWillNotDoIsRefused(t *testing.T) {
	t.Parallel()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	t.Cleanup(func() { _, _ = cluster.Close(), ring.Close() })
	for _, c := range []struct {
		client redis.UniversalClient
		want   string
	}{
		{nil, "redis.NewClient"},
		{ring, "a ring moves keys"},
		{cluster, "redis.NewClusterClient(&redis.ClusterOptions{Addrs: …, ContextTimeoutEnabled: true})"},
	} {
		_, err := New(c.client, &Config{Logger: quiet, Patience: time.Millisecond})
		var invalid *onceq.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "client" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: %v, want it to say %q", c.client, err, c.want)
		}
	}
}

// linesEnv makes the test's program one in which the client library has
// something to say: that a client of the program's own cannot connect.
const linesEnv = "ONCEQ_REDISSTORE_LINES"

// saySomething has a store open meanwhile, or closed; or the program has
// set the library's logger.
func saySomething(url, nobody, which string) {
	if which == "set" {
		redis.SetLogger(nothing{})
	}
	s, err := Open(context.Background(), url, &Config{Namespace: namespace(),
		Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	if which == "closed" {
		_ = s.Close()
	}
	own := redis.NewClient(&redis.Options{Addr: nobody, MaxRetries: -1, DialerRetries: 1})
	_ = own.Ping(context.Background())
	_ = own.Close()
	if which != "closed" {
		_ = s.Close()
	}
}

type nothing struct{}

func (nothing) Printf(context.Context, string, ...any) {}

// TestTheClientLibrarysLinesGoToTheLogger and never to standard error while
// a store is open.
func TestTheClientLibrarysLinesGoToTheLogger(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, which := range []string{"open", "closed", "set"} {
		cmd := exec.Command(os.Args[0], server.URL(), redistest.FreeAddr(t), which)
		cmd.Env = append(os.Environ(), linesEnv+"="+which)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, errs.String())
		}
		logged := strings.Contains(out.String(), "failed to dial")
		if logged != (which == "open") {
			t.Errorf("%s: the Logger was told %q", which, out.String())
		}
		if printed := strings.Contains(errs.String(), "failed to dial"); printed != (which == "closed") {
			t.Errorf("%s: standard error has %q", which, errs.String())
		}
	}
}

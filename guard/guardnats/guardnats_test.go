package guardnats_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardnats"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/storeurl"
)

// stage is a JetStream that keeps its files, and a guard on SQLite.
type stage struct {
	*testing.T
	dir    string
	url    string // of the guard's store
	server *server.Server
	js     jetstream.JetStream
	store  onceq.Store
	guard  *guard.Guard
	config guardnats.Config
}

const ackWait = 300 * time.Millisecond

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db"))
}

func newStageOn(t *testing.T, url string) *stage {
	t.Helper()
	s := &stage{T: t, dir: t.TempDir(), config: guardnats.Config{AckWait: ackWait, Busy: 200 * time.Millisecond}}
	s.start(server.RANDOM_PORT)
	conn, err := nats.Connect(s.server.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	s.must(err)
	s.js, err = jetstream.New(conn)
	s.must(err)
	_, err = s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MAILS", Subjects: []string{"mails.>"},
		Retention: jetstream.WorkQueuePolicy})
	s.must(err)
	s.url = url
	s.store, err = storeurl.Open(t.Context(), url)
	s.must(err)
	s.guard = s.newGuard()
	t.Cleanup(func() {
		conn.Close()
		s.server.Shutdown()
		s.guard.Close()
		s.store.Close()
	})
	return s
}

// start starts the server, with the files that are there.
func (s *stage) start(port int) {
	s.Helper()
	var err error
	s.server, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: s.dir,
		NoLog: true, NoSigs: true, SyncAlways: true})
	s.must(err)
	s.server.Start()
	if !s.server.ReadyForConnections(20 * time.Second) {
		s.Fatal("the server does not start")
	}
}

func (s *stage) newGuard() *guard.Guard {
	s.Helper()
	g, err := guard.New(s.store, &guard.Config{Lease: 600 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	s.must(err)
	return g
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// consume handles messages with fn, in a consumer of its own.
func (s *stage) consume(fn func(ctx context.Context, m jetstream.Msg) error) jetstream.Consumer {
	s.Helper()
	c, err := s.js.CreateOrUpdateConsumer(s.Context(), "MAILS", jetstream.ConsumerConfig{Durable: "mailer",
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: max(s.config.MaxDeliver, -1)})
	s.must(err)
	cc, err := c.Consume(guardnats.Handler(s.guard, &s.config, fn))
	s.must(err)
	s.Cleanup(cc.Stop)
	return c
}

func message(data string) *nats.Msg {
	m := nats.NewMsg("mails.welcome")
	m.Data = []byte(data)
	return m
}

// publishes publishes a message, and returns its claim: the one that was not
// there before. A consumer may have taken the message from the stream already.
func (s *stage) publishes(data string) *onceq.JobRow {
	s.Helper()
	before := s.claims()
	_, err := guardnats.Publish(s.Context(), s.guard, s.js, message(data))
	s.must(err)
	for id, claim := range s.claims() {
		if before[id] == nil {
			return claim
		}
	}
	s.Fatal("the message has no claim")
	return nil
}

func (s *stage) claims() map[string]*onceq.JobRow {
	s.Helper()
	p, err := s.store.List(s.Context(), onceq.ListRequest{Queue: "onceq.guard/default", Limit: 100, Args: true})
	s.must(err)
	all := map[string]*onceq.JobRow{}
	for _, job := range p.Jobs {
		all[job.ID] = job
	}
	return all
}

func (s *stage) refuses(data string) {
	s.Helper()
	if _, err := guardnats.Publish(s.Context(), s.guard, s.js, message(data)); !errors.Is(err, onceq.ErrDuplicate) {
		s.Fatalf("an equal message: %v, want a duplicate", err)
	}
}

func (s *stage) claim(token string) *onceq.JobRow {
	s.Helper()
	jobs, err := s.store.Get(s.Context(), []string{token})
	s.must(err)
	if jobs[0] == nil {
		s.Fatalf("no claim %q", token)
	}
	return jobs[0]
}

func (s *stage) eventually(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited too long until %s", what)
		}
	}
}

func (s *stage) ends(claim *onceq.JobRow, state onceq.State) {
	s.Helper()
	s.eventually("the claim is "+string(state), func() bool { return s.claim(claim.ID).State == state })
}

// left waits until so many messages are left in the stream.
func (s *stage) left(n uint64) {
	s.Helper()
	s.eventually("the stream is as it should be", func() bool {
		stream, err := s.js.Stream(s.Context(), "MAILS")
		return err == nil && stream.CachedInfo().State.Msgs == n
	})
}

func TestAMessageIsRefusedUntilItWasHandled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.publishes(`{"a":1,"b":2}`)
	s.refuses(`{"b":2, "a":1}`)
	step := make(chan error)
	s.consume(func(context.Context, jetstream.Msg) error { return <-step })
	s.ends(first, onceq.Running)
	s.refuses(`{"a":1,"b":2}`)
	step <- errors.New("no")
	s.eventually("it came again", func() bool { return s.claim(first.ID).Attempt == 2 })
	s.refuses(`{"a":1,"b":2}`)
	s.left(1) // it is not acknowledged before it is done
	step <- nil
	s.ends(first, onceq.Completed)
	s.left(0)
	second := s.publishes(`{"a":1,"b":2}`)
	step <- nil
	s.ends(second, onceq.Completed)
}

// The case jetstream_redelivers_during_a_long_run_and_it_runs_once: this consumer
// forgets to say that its run goes on, so the server brings the message again
// and again meanwhile.
func TestJetstreamRedeliversDuringALongRunAndItRunsOnce(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		s := newStageOn(t, url)
		s.config.AckWait = time.Hour
		var runs atomic.Int64
		step := make(chan error)
		claim := s.publishes("long")
		c := s.consume(func(context.Context, jetstream.Msg) error { runs.Add(1); return <-step })
		s.eventually("it was brought again during its run", func() bool {
			info, err := c.Info(t.Context())
			return err == nil && info.Delivered.Consumer >= 4
		})
		s.refuses("long")
		step <- nil
		s.ends(claim, onceq.Completed)
		s.left(0)
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs of one message", n)
		}
	})
}

func TestALongRunIsKeptAlive(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	claim := s.publishes("long")
	c := s.consume(func(context.Context, jetstream.Msg) error {
		runs.Add(1)
		time.Sleep(6 * ackWait) // the work
		return nil
	})
	s.ends(claim, onceq.Completed)
	s.left(0)
	info, err := c.Info(t.Context())
	s.must(err)
	if runs.Load() != 1 || info.Delivered.Consumer != 1 {
		t.Errorf("%d runs, %d deliveries, want one of each", runs.Load(), info.Delivered.Consumer)
	}
}

func TestACopyOfAMessageIsTheSameRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	step := make(chan error)
	claim := s.publishes("x")
	copied := message("x")
	copied.Header.Set(guardnats.Header, claim.ID)
	_, err := s.js.PublishMsg(t.Context(), copied) // without an ID: JetStream takes it for another message
	s.must(err)
	c := s.consume(func(context.Context, jetstream.Msg) error { runs.Add(1); return <-step })
	s.ends(claim, onceq.Running)
	s.eventually("the copy was delivered again and again", func() bool {
		info, err := c.Info(t.Context())
		return err == nil && info.Delivered.Consumer >= 4
	})
	step <- nil
	s.left(0)
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs of one message", n)
	}
}

func TestTheLastDeliveryFreesTheKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.config.MaxDeliver = 2
	var how atomic.Value
	how.Store(func() error { return errors.New("no") })
	s.consume(func(context.Context, jetstream.Msg) error { return how.Load().(func() error)() })
	claim := s.publishes("x")
	s.ends(claim, onceq.Discarded)
	if n := s.claim(claim.ID).Attempt; n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	for _, c := range []struct {
		handler func() error
		state   onceq.State
	}{
		{func() error { return onceq.Discard(errors.New("no")) }, onceq.Discarded},
		{func() error { return onceq.Cancel(errors.New("no")) }, onceq.Cancelled},
		{func() error { panic("no") }, onceq.Discarded},
	} {
		how.Store(c.handler)
		claim := s.publishes("x")
		s.ends(claim, c.state)
	}
	s.left(0) // all were ended for the server too
}

func TestAMessageOutlivesItsConsumerAndItsServer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	claim := s.publishes("x")
	port := s.server.Addr().(*net.TCPAddr).Port
	store, err := storeurl.Open(t.Context(), s.url)
	s.must(err)
	dead, err := guard.New(store, &guard.Config{Lease: 600 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	s.must(err)
	_, err = dead.Start(t.Context(), guard.Token(claim.ID))
	s.must(err)
	s.must(store.Close()) // no heartbeat comes any more
	defer dead.Close()
	s.server.Shutdown()
	s.server.WaitForShutdown()
	s.start(port)
	var runs atomic.Int64
	s.eventually("the server is back", func() bool {
		_, err := s.js.Stream(t.Context(), "MAILS")
		return err == nil
	})
	s.consume(func(context.Context, jetstream.Msg) error { runs.Add(1); return nil })
	s.ends(claim, onceq.Completed)
	s.left(0)
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
}

func TestAMessageThatNoStreamTakesHoldsNoKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	m := nats.NewMsg("nobody.listens")
	for range 2 {
		_, err := guardnats.Publish(t.Context(), s.guard, s.js, m)
		if err == nil || errors.Is(err, onceq.ErrDuplicate) || errors.Is(err, onceq.ErrUncertain) {
			t.Fatalf("%v, want a definite error", err)
		}
	}
	if len(m.Header) != 0 {
		t.Errorf("the message was changed: %v", m.Header)
	}
}

func TestAMessageWhoseAnswerWasLostIsPublishedUnderItsToken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, err := guardnats.Publish(t.Context(), s.guard, &deaf{JetStream: s.js}, message("x"))
	if !errors.Is(err, onceq.ErrUncertain) {
		t.Fatalf("%v, want it uncertain", err)
	}
	s.refuses("x")
	ack, err := guardnats.Publish(t.Context(), s.guard, s.js, message("x"), onceq.Resend(err))
	s.must(err)
	if !ack.Duplicate {
		t.Error("the stream took it twice")
	}
	s.left(1)
}

// deaf publishes, and does not hear the answer.
type deaf struct{ jetstream.JetStream }

func (d *deaf) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if _, err := d.JetStream.PublishMsg(ctx, m, opts...); err != nil {
		return nil, err
	}
	return nil, nats.ErrTimeout
}

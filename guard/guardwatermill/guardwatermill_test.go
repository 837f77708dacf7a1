package guardwatermill_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardwatermill"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/storeurl"
)

var _ middleware.ExpiringKeyRepository = (*guardwatermill.Repository)(nil)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m).Run()) }

func newGuard(t *testing.T, file string) (*guard.Guard, onceq.Store) {
	t.Helper()
	return newGuardOn(t, "sqlite:"+file)
}

func newGuardOn(t *testing.T, url string) (*guard.Guard, onceq.Store) {
	t.Helper()
	store, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(store, &guard.Config{Lease: time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close(); store.Close() })
	return g, store
}

// run runs a router whose handler of the topic "mails" is this one.
func run(t *testing.T, g *guard.Guard, sub message.Subscriber, handle func(*message.Message) error) {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	r.AddMiddleware(guardwatermill.Middleware(g))
	r.AddConsumerHandler("mailer", "mails", sub, handle)
	go r.Run(context.Background())
	<-r.Running()
	t.Cleanup(func() { r.Close() })
}

func newChannel() *gochannel.GoChannel {
	return gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// The case watermill_nack_keeps_ack_frees.
func TestWatermillNackKeepsAckFrees(t *testing.T) { brokertest.OnEachStore(t, nackKeepsAckFrees) }

func nackKeepsAckFrees(t *testing.T, url string) {
	g, store := newGuardOn(t, url)
	channel := newChannel()
	p := guardwatermill.NewPublisher(channel, g)
	m := message.NewMessage("1", []byte(`{"a":1,"b":2}`))
	if err := p.Publish("mails", m); err != nil {
		t.Fatal(err)
	}
	if len(m.Metadata) != 0 {
		t.Errorf("the message was changed: %v", m.Metadata)
	}
	refused := func() {
		t.Helper()
		if err := p.Publish("mails", message.NewMessage("2", []byte(`{"b":2, "a":1}`))); !errors.Is(err,
			onceq.ErrDuplicate) {
			t.Fatalf("an equal message: %v, want a duplicate", err)
		}
	}
	refused()
	step := make(chan error)
	var runs atomic.Int64
	var token atomic.Value
	run(t, g, channel, func(m *message.Message) error {
		token.Store(m.Metadata.Get(guardwatermill.Metadata))
		runs.Add(1)
		return <-step
	})
	state := func() onceq.State {
		jobs, err := store.Get(t.Context(), []string{token.Load().(string)})
		if err != nil || jobs[0] == nil {
			t.Fatalf("the claim: %v %v", jobs, err)
		}
		return jobs[0].State
	}
	step <- errors.New("no")
	eventually(t, "it is brought again", func() bool { return runs.Load() == 2 })
	refused()
	step <- nil
	eventually(t, "it is done", func() bool { return state() == onceq.Completed })
	err := p.Publish("mails", message.NewMessage("3", m.Payload), message.NewMessage("4", []byte("not JSON")))
	if err != nil {
		t.Fatal(err)
	}
	step <- nil
	step <- onceq.Discard(errors.New("no"))
	eventually(t, "it has ended", func() bool { return state().Finished() })
	p.Drop = true
	for range 2 {
		if err := p.Publish("mails", message.NewMessage("5", []byte("z"))); err != nil {
			t.Error(err)
		}
	}
	close(step)
}

func TestACopyThatComesAfterTheEndIsDone(t *testing.T) {
	t.Parallel()
	g, _ := newGuard(t, filepath.Join(t.TempDir(), "g.db"))
	channel := newChannel()
	var runs, copies atomic.Int64
	run(t, g, channel, func(m *message.Message) error {
		if m.Metadata.Get(guardwatermill.Metadata) != "" && copies.Add(1) == 1 { // the Pub/Sub delivers it twice
			if err := channel.Publish("mails", m.Copy()); err != nil {
				return err
			}
		}
		runs.Add(1)
		return nil
	})
	p := guardwatermill.NewPublisher(channel, g)
	if err := p.Publish("mails", message.NewMessage("1", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := channel.Publish("mails", message.NewMessage("2", []byte("without a claim"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last message has run", func() bool { return runs.Load() >= 2 })
	time.Sleep(100 * time.Millisecond) // in which nothing may happen
	if n := runs.Load(); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
}

// failing is a publisher whose broker is down.
type failing struct{ message.Publisher }

func (failing) Publish(string, ...*message.Message) error { return errors.New("the broker is down") }

func TestAPublishThatFailsHoldsNoKey(t *testing.T) {
	t.Parallel()
	g, _ := newGuard(t, filepath.Join(t.TempDir(), "g.db"))
	p := guardwatermill.NewPublisher(failing{newChannel()}, g)
	for range 2 {
		err := p.Publish("mails", message.NewMessage("1", []byte("x")))
		if err == nil || errors.Is(err, onceq.ErrDuplicate) {
			t.Fatalf("%v, want the error of the broker", err)
		}
	}
}

func TestWatermillsDeduplicatorSharesItsMemory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "g.db")
	var handled int
	const window = 2 * time.Second
	process := func() message.HandlerFunc { // each has its own guard and store
		g, _ := newGuard(t, file)
		d := &middleware.Deduplicator{Timeout: 10 * time.Second, KeyFactory: middleware.NewMessageHasherSHA256(1 << 20),
			Repository: guardwatermill.NewRepository(g, window)}
		return d.Middleware(func(*message.Message) ([]*message.Message, error) { handled++; return nil, nil })
	}
	first, second := process(), process()
	began := time.Now()
	for i, handler := range []message.HandlerFunc{first, second, first} {
		if _, err := handler(message.NewMessage("1", []byte("x"))); err != nil {
			t.Fatal(err)
		}
		if handled != 1 && time.Since(began) < window {
			t.Errorf("after %d: handled %d times, want 1", i+1, handled)
		}
	}
	time.Sleep(window + 100*time.Millisecond)
	if _, err := second(message.NewMessage("1", []byte("x"))); err != nil || handled != 2 {
		t.Errorf("after the window: handled %d times, %v", handled, err)
	}
}

package guardrecipes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/storeurl"
)

func TestMain(m *testing.M) {
	dial := func(ctx context.Context, address string) (brokertest.Broker, error) {
		if strings.HasPrefix(address, "amqp:") {
			return dialRabbit(ctx, address)
		}
		return dialKafka(ctx, address)
	}
	if brokertest.Roles(dial, serveKafka) {
		return
	}
	os.Exit(pgtest.Main(m).Run())
}

// stage is a broker and a guard.
type stage struct {
	*testing.T
	brokertest.Broker
	guard *guard.Guard
	store onceq.Store
}

func newStage(t *testing.T, url string, b brokertest.Broker) *stage {
	t.Helper()
	s := &stage{T: t, Broker: b}
	var err error
	s.store, err = storeurl.Open(t.Context(), url)
	s.must(err)
	s.guard, err = guard.New(s.store, &guard.Config{Lease: time.Second, Logger: slog.New(slog.DiscardHandler)})
	s.must(err)
	t.Cleanup(func() { b.Close(); s.guard.Close(); s.store.Close() })
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) sends(body string) {
	s.Helper()
	s.must(s.Send(s.Context(), s.guard, []byte(body)))
}

func (s *stage) refuses(body string) {
	s.Helper()
	if err := s.Send(s.Context(), s.guard, []byte(body)); !errors.Is(err, onceq.ErrDuplicate) {
		s.Fatalf("an equal message: %v, want a duplicate", err)
	}
}

func (s *stage) eventually(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited too long until %s", what)
		}
	}
}

// claims are the states of all claims, sorted.
func (s *stage) claims() string {
	s.Helper()
	p, err := s.store.List(s.Context(), onceq.ListRequest{Queue: "onceq.guard/default", Limit: 100})
	s.must(err)
	var states []onceq.State
	for _, j := range p.Jobs {
		states = append(states, j.State)
	}
	slices.Sort(states)
	return fmt.Sprint(states)
}

// receive handles messages until the test ends, or until stop is called.
func (s *stage) receive(b brokertest.Broker, handle func(ctx context.Context, body []byte) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Receive(ctx, s.guard, handle) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			s.must(<-ended)
		}
	}
	s.Cleanup(stop)
	return stop
}

// A failure keeps the key and the message comes again; success frees it, and so
// does the third failure, with which the message is a dead letter.
func (s *stage) failureKeepsEndFrees(dead func() string) {
	var runs atomic.Int64
	step := make(chan error)
	s.sends("a")
	s.refuses("a")
	s.receive(s.Broker, func(context.Context, []byte) error { runs.Add(1); return <-step })
	step <- errors.New("no")
	s.eventually("it comes again", func() bool { return runs.Load() == 2 })
	s.refuses("a")
	step <- nil
	s.eventually("it is done", func() bool { return s.claims() == "[completed]" })
	s.sends("a")
	for range 3 {
		step <- errors.New("no")
	}
	s.eventually("it is a dead letter", func() bool { return s.claims() == "[completed discarded]" })
	if got := dead(); got != "a" {
		s.Errorf("the dead letter is %q", got)
	}
	s.sends("a")
	step <- nil
	s.eventually("it is done", func() bool { return s.claims() == "[completed completed discarded]" })
}

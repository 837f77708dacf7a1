package onceq_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// buffers are args, tags and meta that a caller uses again for something else.
type buffers struct {
	raw  []byte
	tags []string
	meta map[string]any
}

func newBuffers() *buffers {
	return &buffers{[]byte(`{"to":"ada"}`), []string{"a", "b"}, map[string]any{"n": "1", "list": []any{"x"}}}
}

func (b *buffers) options() []onceq.Option {
	return []onceq.Option{onceq.Tags(b.tags...), onceq.Meta(b.meta)}
}

func (b *buffers) reuse() {
	copy(b.raw, `{"to":"eve"}`)
	b.tags[0], b.tags[1] = "y", "z"
	b.meta["n"], b.meta["list"].([]any)[0] = "2", "y"
}

// mustBeAda wants a job as it was enqueued.
func mustBeAda(t *testing.T, j *onceq.JobRow) {
	t.Helper()
	if string(j.Args) != `{"to":"ada"}` {
		t.Errorf("the job has args that nobody enqueued: %s", j.Args)
	}
	want := newBuffers()
	if !reflect.DeepEqual(j.Tags, want.tags) || !reflect.DeepEqual(j.Meta, want.meta) {
		t.Errorf("the job has tags or meta that nobody enqueued: %v %v", j.Tags, j.Meta)
	}
}

func theJob(t *testing.T, store onceq.Store, kind string) *onceq.JobRow {
	t.Helper()
	p, err := store.List(context.Background(), onceq.ListRequest{Limit: 10,
		Kind: kind, Args: true})
	if err != nil || len(p.Jobs) != 1 {
		t.Fatalf("%d jobs of kind %s, %v", len(p.Jobs), kind, err)
	}
	return p.Jobs[0]
}

func TestACallersMemoryIsItsOwnAfterACall(t *testing.T) {
	for kind, args := range map[string]func(b *buffers) onceq.Args{
		"json":  func(b *buffers) onceq.Args { return onceq.JSON("json", b.raw) },
		"bytes": func(b *buffers) onceq.Args { return onceq.Bytes("bytes", b.raw) },
	} {
		for name, enqueue := range map[string]func(c *onceq.Client, store *memstore.Store,
			b *buffers) (onceq.Receipt, error){
			"one": func(c *onceq.Client, _ *memstore.Store, b *buffers) (onceq.Receipt, error) {
				return c.Enqueue(t.Context(), args(b), b.options()...)
			},
			"many": func(c *onceq.Client, _ *memstore.Store, b *buffers) (onceq.Receipt, error) {
				receipts, err := c.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(args(b), b.options()...)})
				return receipts[0], err
			},
			"in a transaction": func(c *onceq.Client, s *memstore.Store, b *buffers) (onceq.Receipt, error) {
				return c.WithTx(inTx{&flaky{Store: s}}).Enqueue(t.Context(), args(b), b.options()...)
			},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				store := memstore.New(nil)
				c := clientOf(t, store, nil)
				b := newBuffers()
				r, err := enqueue(c, store, b)
				if err != nil {
					t.Fatal(err)
				}
				b.reuse()
				mustBeAda(t, r.Job)
				mustBeAda(t, theJob(t, store, kind))
			})
		}
	}
}

// held is a store that holds every call back until it is told.
type held struct {
	onceq.Store
	begun chan struct{}
	gate  chan struct{}
}

func (s *held) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	s.begun <- struct{}{}
	<-s.gate
	return s.Store.Enqueue(ctx, r)
}

func TestACallersMemoryIsItsOwnAfterItGaveUpATripThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &held{Store: memstore.New(nil), begun: make(chan struct{}), gate: make(chan struct{})}
		c := clientOf(t, store, nil)
		var all sync.WaitGroup
		defer all.Wait()
		stranger := func() {
			all.Go(func() {
				if _, err := c.Enqueue(t.Context(), mail{"x"}); err != nil {
					t.Error(err)
				}
			})
		}
		stranger()
		<-store.begun
		b := newBuffers()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := c.Enqueue(ctx, onceq.JSON("pay", b.raw), append(b.options(), onceq.Unique{})...)
			gaveUp <- err
		}()
		synctest.Wait()
		stranger()
		synctest.Wait()
		store.gate <- struct{}{}
		<-store.begun // the second trip is under way, with the payment and a stranger
		cancel()
		if err := <-gaveUp; !errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%v: want it to be uncertain", err)
		}
		b.reuse()
		store.gate <- struct{}{}
		all.Wait()
		mustBeAda(t, theJob(t, store, "pay"))
	})
}

func TestAClientKeepsTheConfigThatItWasGiven(t *testing.T) {
	config := &onceq.Config{Defaults: []onceq.Option{onceq.Queue("a")},
		Kinds: map[string][]onceq.Option{"mail": {onceq.Priority(3)}}}
	c := clientOf(t, memstore.New(nil), config)
	config.Defaults[0], config.Kinds["mail"][0] = onceq.Queue("b"), onceq.Priority(4)
	config.Kinds["other"] = nil
	r, err := c.Enqueue(t.Context(), mail{"ada"})
	if err != nil || r.Job.Queue != "a" || r.Job.Priority != 3 {
		t.Errorf("%+v, %v: want what NewClient was given", r.Job, err)
	}
}

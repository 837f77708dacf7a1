package onceq_test

import (
	"context"
	"encoding/json"
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

// Callers of one trip have equal keys, and the store is asked once for all
// of them.
func TestReceiptsOfCallersWhoShareATripShareNoMemory(t *testing.T) {
	s := &slow{Store: memstore.New(nil), first: make(chan struct{})}
	b := newBuffers()
	item := onceq.NewItem(onceq.JSON("mail", b.raw), append(b.options(), onceq.Unique{})...)
	for _, r := range together(t, s, clientOf(t, s, nil), []onceq.Item{item, item, item}) {
		mustBeAda(t, r.Job)
		copy(r.Job.Args, `{"to":"eve"}`)
		r.Job.Tags[0], r.Job.Meta["n"], r.Job.Meta["list"].([]any)[0] = "y", "2", "y"
		if r.Job.Key[0]++; r.Conflict != nil && r.Conflict.Key == *r.Job.Key {
			t.Error("the key of a receipt has changed")
		}
	}
}

// What a worker was given may be used for something else, also while it
// runs.
func TestAWorkerKeepsTheConfigThatItWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		config := &onceq.WorkerConfig{Kinds: []string{"mail"},
			Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 3}}}
		w, err := onceq.NewWorker(store, config)
		if err != nil {
			t.Fatal(err)
		}
		delete(config.Queues, "a")
		config.Queues["b"], config.Kinds[0] = onceq.QueueConfig{Concurrency: 1}, "x"
		w.HandleKind("mail", func(context.Context, *onceq.JobRow) error { return nil })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		known, err := clientOf(t, store, nil).Workers(t.Context())
		if err != nil || len(known) != 1 {
			t.Fatal(known, err)
		}
		var about onceq.WorkerAbout
		if err := json.Unmarshal(known[0].About, &about); err != nil ||
			!reflect.DeepEqual(about.Queues, map[string]int{"a": 3}) ||
			!reflect.DeepEqual(about.Kinds, []string{"mail"}) {
			t.Errorf("%+v, %v", about, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Who waits for the same job gets a row of their own.
func TestWaitsForOneJobShareNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		c := clientOf(t, store, nil)
		b := newBuffers()
		r, err := c.Enqueue(t.Context(), onceq.JSON("mail", b.raw), b.options()...)
		if err != nil {
			t.Fatal(err)
		}
		rows := make(chan *onceq.JobRow, 2)
		for range 2 {
			go func() {
				j, _ := c.Wait(t.Context(), r.Job.ID)
				rows <- j
			}()
		}
		synctest.Wait()
		if _, err := c.Cancel(t.Context(), r.Job.ID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			j := <-rows
			mustBeAda(t, j)
			copy(j.Args, `{"to":"eve"}`)
			j.Tags[0], j.Meta["n"] = "y", "2"
		}
		c.Close()
	})
}

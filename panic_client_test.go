package onceq_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// Args whose methods panic, each in one of them.
type (
	badKind    struct{}
	badJSON    struct{}
	badText    struct{ M map[badMapKey]int }
	badMapKey  int
	badOptions struct{}
	badMember  struct{ In badJSON }
	outer      struct{ *inner } // a nil embedded pointer: Kind is promoted, and panics
	inner      struct{ kind string }
	nilOption  struct{}
)

func (badKind) Kind() string                                   { panic("boom") }
func (badJSON) Kind() string                                   { return "bad" }
func (badJSON) MarshalJSON() ([]byte, error)                   { panic("boom") }
func (badText) Kind() string                                   { return "bad" }
func (badMapKey) MarshalText() ([]byte, error)                 { panic("boom") }
func (badOptions) Kind() string                                { return "bad" }
func (badOptions) EnqueueOptions() []onceq.Option              { panic("boom") }
func (badMember) Kind() string                                 { return "bad" }
func (i *inner) Kind() string                                  { return i.kind }
func (nilOption) Kind() string                                 { return "bad" }
func (nilOption) EnqueueOptions() []onceq.Option               { return []onceq.Option{(*onceq.Unique)(nil)} }
func (e *typedNil) Error() string                              { return e.text }
func (e *typedNil) Unwrap() error                              { return e.cause }
func (e badAs) Error() string                                  { return "bad as" }
func (e badAs) As(any) bool                                    { panic("boom") }
func (h badHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (h badHandler) Handle(context.Context, slog.Record) error { panic("boom") }
func (h badHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h badHandler) WithGroup(string) slog.Handler             { return h }

type (
	badOption  struct{ onceq.Option } // nil inside
	badPolicy  struct{ onceq.ConflictPolicy }
	badAs      struct{}
	badHandler struct{}
	typedNil   struct {
		text  string
		cause error
	}
)

func TestAPanicInWhatACallerPassesIsAnErrorThatNamesIt(t *testing.T) {
	store := memstore.New(nil)
	c := clientOf(t, store, nil)
	var nilErr *typedNil
	for name, try := range map[string]struct {
		args onceq.Args
		opts []onceq.Option
		want string
	}{
		"Kind":                 {badKind{}, nil, "Kind"},
		"Kind of nil embedded": {outer{}, nil, "Kind"},
		"MarshalJSON":          {badJSON{}, nil, "JSON"},
		"MarshalJSON inside":   {badMember{}, nil, "JSON"},
		"MarshalText":          {badText{map[badMapKey]int{1: 1}}, nil, "JSON"},
		"EnqueueOptions":       {badOptions{}, nil, "EnqueueOptions"},
		"nil option of type":   {nilOption{}, nil, "option"},
		"nil option":           {mail{}, []onceq.Option{(*onceq.Unique)(nil)}, "option"},
		"embedded option":      {mail{}, []onceq.Option{badOption{}}, "option"},
		"nil policy": {mail{}, []onceq.Option{onceq.Unique{}, onceq.OnConflict((*onceq.Replace)(nil))},
			"OnConflict"},
		"embedded policy":  {mail{}, []onceq.Option{onceq.Unique{}, onceq.OnConflict(badPolicy{})}, "OnConflict"},
		"meta":             {mail{}, []onceq.Option{onceq.Meta(map[string]any{"x": badJSON{}})}, "meta"},
		"Unwrap of Resend": {mail{}, []onceq.Option{onceq.Resend(nilErr)}, "Resend"},
		"As of Resend":     {mail{}, []onceq.Option{onceq.Resend(badAs{})}, "Resend"},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(err error) {
				t.Helper()
				var invalid *onceq.InvalidError
				if !errors.As(err, &invalid) || !strings.Contains(err.Error(), try.want) ||
					errors.Is(err, onceq.ErrUncertain) {
					t.Errorf("%v: want an *InvalidError that names %s", err, try.want)
				}
			}
			_, err := c.Enqueue(t.Context(), try.args, try.opts...)
			check(err)
			_, err = c.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(mail{}),
				onceq.NewItem(try.args, try.opts...)})
			check(err)
			_, err = c.Explain(t.Context(), try.args, try.opts...)
			check(err)
			_, err = onceq.NewClient(store, &onceq.Config{Defaults: try.opts})
			if len(try.opts) > 0 && name != "meta" {
				check(err)
			}
			if n := howMany(t, store); n != 0 {
				t.Errorf("%d jobs", n)
			}
		})
	}
}

func TestALoggerThatPanicsLosesNoReceipt(t *testing.T) {
	c := clientOf(t, memstore.New(nil), &onceq.Config{Logger: slog.New(badHandler{})})
	for _, want := range []onceq.Outcome{onceq.Inserted, onceq.Skipped} {
		r, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{})
		if err != nil || r.Outcome != want {
			t.Errorf("%s, %v: want %s", r.Outcome, err, want)
		}
	}
}

// explosive is a store whose nth call panics, after the step.
type explosive struct {
	onceq.Store
	begun chan struct{}
	gate  chan struct{}
	calls int
}

func (s *explosive) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	s.calls++
	if s.calls == 1 {
		close(s.begun)
		<-s.gate
	}
	results, err := s.Store.Enqueue(ctx, r)
	if s.calls == 2 {
		panic("a decorator of the store")
	}
	return results, err
}

func TestAStoreThatPanicsInATripOfSeveralEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &explosive{Store: memstore.New(nil), begun: make(chan struct{}), gate: make(chan struct{})}
		c := clientOf(t, s, nil)
		var all sync.WaitGroup
		enqueue := func(to string) {
			all.Go(func() {
				r, err := c.Enqueue(t.Context(), mail{to}, onceq.Unique{})
				if err != nil || r.Outcome != onceq.Inserted {
					t.Errorf("%s: %s, %v: want the answer of the resend", to, r.Outcome, err)
				}
			})
			synctest.Wait()
		}
		enqueue("a")
		<-s.begun
		enqueue("b")
		enqueue("c")
		close(s.gate)
		all.Wait()
		time.Sleep(time.Second)
		if n := howMany(t, s.Store); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
	})
}

// Types that contain themselves, in every way that encoding/json takes.
type (
	selfEmbedding struct {
		*selfEmbedding     //lint:ignore U1000 it is there to be met by reflection
		ID             int `json:"id"`
	}
	pairA struct {
		*pairB
		ID int `json:"id" onceq:"unique"`
	}
	pairB struct {
		*pairA
		Name string `json:"name"`
	}
	pointsToItself *pointsToItself
	node           struct {
		ID     int              `json:"id" onceq:"unique"`
		Self   pointsToItself   `json:"self"`
		Next   *node            `json:"next"`
		Others map[string]*node `json:"others"`
		Name   string           `json:"name"`
		parent *node
		Up     *node `json:"-"`
	}
)

func (selfEmbedding) Kind() string { return "self" }
func (pairA) Kind() string         { return "pair" }
func (node) Kind() string          { return "node" }

func TestTypesThatContainThemselvesAreTaken(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	ring := &node{ID: 1, Name: `\ufffd`} // as text: it is what encoding/json writes for bytes that are no UTF-8
	ring.parent, ring.Up = ring, ring
	for _, try := range []struct {
		args   onceq.Args
		fields []string
		ok     bool
	}{
		{selfEmbedding{ID: 1}, []string{"id"}, true},
		{selfEmbedding{ID: 1}, []string{"nope"}, false},
		{pairA{ID: 1}, []string{"id"}, true},
		{pairA{ID: 1}, []string{"nope"}, false},
		{pairA{ID: 2}, nil, true},
		{ring, nil, true},
		{ring, []string{"/id", "/next/next/id"}, true},
		{ring, []string{"/next/nope"}, false},
		{ring, []string{"/self/x"}, false},
	} {
		_, err := c.Enqueue(t.Context(), try.args, onceq.Unique{Fields: try.fields})
		if try.ok != (err == nil) {
			t.Errorf("%T %v: %v", try.args, try.fields, err)
		}
	}
	var v node
	if err := json.Unmarshal([]byte(`{"id":1}`), &v); err != nil {
		t.Fatal(err)
	}
}

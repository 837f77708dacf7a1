package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

func TestMiddlewareWrapsEveryEnqueueTheFirstOutermost(t *testing.T) {
	s := newFlaky()
	var seen []string
	note := func(name string) onceq.EnqueueMiddleware {
		return func(next onceq.Enqueuer) onceq.Enqueuer {
			return func(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
				seen = append(seen, fmt.Sprint(name, len(items)))
				items = slices.Clone(items)
				for i := range items {
					items[i].Options = append(slices.Clone(items[i].Options), onceq.Tags(name))
				}
				receipts, err := next(ctx, items)
				seen = append(seen, fmt.Sprint("/", name, len(receipts)))
				return receipts, err
			}
		}
	}
	c := clientOf(t, s, &onceq.Config{Middleware: []onceq.EnqueueMiddleware{note("a"), note("b")}})
	tx := c.WithTx(inTx{s})
	for name, enqueue := range map[string]func() ([]onceq.Receipt, error){
		"1": func() ([]onceq.Receipt, error) {
			r, err := c.Enqueue(t.Context(), mail{"a"})
			return []onceq.Receipt{r}, err
		},
		"1 in a transaction": func() ([]onceq.Receipt, error) {
			r, err := tx.Enqueue(t.Context(), mail{"a"})
			return []onceq.Receipt{r}, err
		},
		"2":                  func() ([]onceq.Receipt, error) { return c.EnqueueMany(t.Context(), twoMails) },
		"2 in a transaction": func() ([]onceq.Receipt, error) { return tx.EnqueueMany(t.Context(), twoMails) },
	} {
		seen = nil
		receipts, err := enqueue()
		if err != nil {
			t.Fatal(name, err)
		}
		n := name[:1]
		if want := []string{"a" + n, "b" + n, "/b" + n, "/a" + n}; !slices.Equal(seen, want) {
			t.Errorf("%s: %v, want %v", name, seen, want)
		}
		for _, r := range receipts {
			if !slices.Equal(r.Job.Tags, []string{"b"}) { // the innermost has the last word
				t.Errorf("%s: tags %v", name, r.Job.Tags)
			}
		}
	}
}

func TestMiddlewareSeesADuplicateAndMayRefuse(t *testing.T) {
	no := errors.New("not today")
	var got error
	c := clientOf(t, memstore.New(nil), &onceq.Config{Middleware: []onceq.EnqueueMiddleware{
		func(next onceq.Enqueuer) onceq.Enqueuer {
			return func(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
				if items[0].Args == (mail{"no"}) {
					return nil, no
				}
				receipts, err := next(ctx, items)
				got = err
				return receipts, err
			}
		}}})
	opts := []onceq.Option{onceq.Unique{}, onceq.OnConflict(onceq.Reject)}
	if _, err := c.Enqueue(t.Context(), mail{"a"}, opts...); err != nil || got != nil {
		t.Fatal(err, got)
	}
	r, err := c.Enqueue(t.Context(), mail{"a"}, opts...)
	if !errors.Is(err, onceq.ErrDuplicate) || got != err || r.Outcome != onceq.Rejected || r.Job == nil {
		t.Errorf("%+v %v, seen %v", r, err, got)
	}
	if r, err := c.Enqueue(t.Context(), mail{"no"}); err != no || r.Job != nil {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := c.Explain(t.Context(), mail{"no"}); err != nil {
		t.Errorf("explain: %v", err)
	}
}

func TestMiddlewareThatGoesWrongIsNamedAndLosesNothing(t *testing.T) {
	after := func(do func([]onceq.Receipt) []onceq.Receipt) onceq.EnqueueMiddleware {
		return func(next onceq.Enqueuer) onceq.Enqueuer {
			return func(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
				receipts, err := next(ctx, items)
				return do(receipts), err
			}
		}
	}
	for _, c := range []struct {
		name       string
		middleware onceq.EnqueueMiddleware
		jobs       int
		want       string // "" = the enqueue went well
	}{
		{"panics before", func(onceq.Enqueuer) onceq.Enqueuer {
			return func(context.Context, []onceq.Item) ([]onceq.Receipt, error) { panic("boom") }
		}, 0, "must not panic, and did: boom"},
		{"panics when it wraps", func(onceq.Enqueuer) onceq.Enqueuer { panic("boom") }, 0, "boom"},
		{"panics after", after(func([]onceq.Receipt) []onceq.Receipt { panic("boom") }), 1, ""},
		{"wraps with nothing", func(onceq.Enqueuer) onceq.Enqueuer { return nil }, 0, "must not panic"},
		{"loses the receipt", after(func([]onceq.Receipt) []onceq.Receipt { return nil }), 1, ""},
		{"answers for nobody", func(onceq.Enqueuer) onceq.Enqueuer {
			return func(context.Context, []onceq.Item) ([]onceq.Receipt, error) { return nil, nil }
		}, 0, "one receipt for each"},
		{"adds items", func(next onceq.Enqueuer) onceq.Enqueuer {
			return func(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
				return next(ctx, append(items[:1:1], items...))
			}
		}, 0, "the one item"},
	} {
		store, log := memstore.New(nil), newLog()
		client := clientOf(t, store, &onceq.Config{Logger: log.logger(),
			Middleware: []onceq.EnqueueMiddleware{c.middleware}})
		r, err := client.Enqueue(t.Context(), mail{"a"})
		var invalid *onceq.InvalidError
		switch {
		case c.want == "" && (err != nil || r.Job == nil || !log.has("onceq: middleware failed after the enqueue")):
			t.Errorf("%s: %+v %v, log %s", c.name, r, err, log)
		case c.want != "" && (!errors.As(err, &invalid) || invalid.Field != "Config.Middleware" ||
			!strings.Contains(invalid.Rule, c.want)):
			t.Errorf("%s: %v", c.name, err)
		}
		if n := howMany(t, store); n != c.jobs {
			t.Errorf("%s: %d jobs, want %d", c.name, n, c.jobs)
		}
	}
	if _, err := onceq.NewClient(memstore.New(nil), &onceq.Config{
		Middleware: []onceq.EnqueueMiddleware{nil}}); err == nil {
		t.Error("a middleware that is nil is accepted")
	}
}

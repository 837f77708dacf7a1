package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// The claims of docs/changing-jobs.md: two versions of a program on one store.

type mailOld struct {
	To string `json:"to"`
}

func (mailOld) Kind() string { return "mail" }

type mailNew struct {
	To  string `json:"to"`
	Bcc string `json:"bcc"`
}

func (mailNew) Kind() string { return "mail" }

type mailOptional struct {
	To  string `json:"to"`
	Bcc string `json:"bcc,omitempty"`
}

func (mailOptional) Kind() string { return "mail" }

type mailList struct {
	To []string `json:"to"`
}

func (mailList) Kind() string { return "mail" }

// version runs what is due with a worker of one version of a program, and says
// what its handler saw.
func version[T onceq.Args](t *testing.T, b *bubble, opts ...onceq.HandleOption) (saw string) {
	t.Helper()
	w := b.worker(onceq.WorkerConfig{Drain: true,
		Retry: func(*onceq.JobRow, error) time.Duration { return time.Second }})
	onceq.Handle(w, func(_ context.Context, job *onceq.Job[T]) error {
		saw += fmt.Sprintf("%+v", job.Args)
		return nil
	}, opts...)
	if err := b.run(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	pass(2 * time.Second) // until a retry is due
	return saw
}

func TestOldAndNewWorkersSideBySide(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		is := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: the handler saw %q, want %q", what, got, want)
			}
		}
		b.enqueue(mailNew{"ada", "eve"})
		is("an old worker ignores a new member", version[mailOld](t, b), "{To:ada}")
		b.enqueue(mailOld{"ada"})
		is("a new worker has the zero value of it", version[mailNew](t, b), "{To:ada Bcc:}")

		id := b.enqueue(mailNew{"ada", "eve"})
		is("an old worker that is strict fails", version[mailOld](t, b, onceq.Strict()), "")
		if e := b.wants(id, onceq.Available).Errors; len(e) != 1 || !strings.Contains(e[0].Error, `"bcc"`) {
			t.Errorf("%+v", e)
		}
		is("and a new one does the job", version[mailNew](t, b, onceq.Strict()), "{To:ada Bcc:eve}")
		b.wants(id, onceq.Completed)

		id = b.enqueue(mailList{[]string{"ada"}})
		is("an old worker fails on a member of another type", version[mailOld](t, b), "")
		is("a new one does the job", version[mailList](t, b), "{To:[ada]}")
		if j := b.wants(id, onceq.Completed); j.Attempt != 2 {
			t.Errorf("%d attempts", j.Attempt)
		}
	})
}

// TestAnOldAndANewWorkerAtOneTimeFinishEveryJob: a deployment under way. The
// old worker is strict and fails on what is new; the new one does it.
func TestAnOldAndANewWorkerAtOneTimeFinishEveryJob(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		config := onceq.WorkerConfig{Retry: func(*onceq.JobRow, error) time.Duration { return time.Second },
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 2}}}
		var lost atomic.Int64
		older, newer := b.worker(config), b.worker(config)
		onceq.Handle(older, func(context.Context, *onceq.Job[mailOld]) error { return nil }, onceq.Strict())
		onceq.Handle(newer, func(_ context.Context, job *onceq.Job[mailNew]) error {
			if strings.HasPrefix(job.Args.To, "new") && job.Args.Bcc == "" {
				lost.Add(1)
			}
			return nil
		}, onceq.Strict())
		defer clean(t, b.start(older))
		defer clean(t, b.start(newer))
		var ids []string
		for i := range 20 {
			ids = append(ids, b.enqueue(mailOld{fmt.Sprint("old", i)}, onceq.Unique{Fields: []string{"to"}}),
				b.enqueue(mailNew{fmt.Sprint("new", i), "eve"}, onceq.Unique{Fields: []string{"to"}}))
		}
		pass(time.Minute)
		failed := 0
		for _, id := range ids {
			failed += len(b.wants(id, onceq.Completed).Errors)
		}
		if failed == 0 || lost.Load() != 0 {
			t.Errorf("%d runs of the old worker failed, and %d jobs lost a member", failed, lost.Load())
		}
	})
}

func TestWhatAChangeOfArgsDoesToTheKey(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	outcome := func(args onceq.Args, u onceq.Unique) onceq.Outcome {
		t.Helper()
		r, err := c.Enqueue(t.Context(), args, u)
		if err != nil {
			t.Fatal(err)
		}
		return r.Outcome
	}
	whole, to := onceq.Unique{}, onceq.Unique{Fields: []string{"to"}}
	for _, step := range []struct {
		what string
		args onceq.Args
		by   onceq.Unique
		want onceq.Outcome
	}{
		{"the old program", mailOld{"ada"}, whole, onceq.Inserted},
		{"a new member makes another key of all args", mailNew{"ada", ""}, whole, onceq.Inserted},
		{"one that is left out where it is empty does not", mailOptional{"ada", ""}, whole, onceq.Skipped},
		{"with fields", mailOld{"ada"}, to, onceq.Inserted},
		{"other members do not count", mailNew{"ada", "eve"}, to, onceq.Skipped},
		{"other fields make another key", mailNew{"ada", "eve"}, onceq.Unique{Fields: []string{"to", "bcc"}},
			onceq.Inserted},
	} {
		if got := outcome(step.args, step.by); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	_, err := c.Enqueue(t.Context(), mailNew{"ada", ""}, onceq.Unique{Fields: []string{"bcc"}})
	if invalid := (*onceq.InvalidError)(nil); !errors.As(err, &invalid) {
		t.Errorf("a blank field: %v", err)
	}
}

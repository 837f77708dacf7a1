package storetest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// fiveMinutes is default_ttl as it is there: from the dispatch, whatever
// happens.
var fiveMinutes = onceq.Unique{TTL: 5 * minute}

// parityGuard: taskiq-deduplication as what it is, a middleware in front of a
// broker that the team keeps. A case for each option, label, default, error and
// log line of it.
var parityGuard = []scenario{
	{"default_deduplication_true", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(mail{To: "a"}) // name and all kwargs
		g.heldBy(t, onceq.Scheduled, mail{To: "a"})
		g.sends(mail{To: "a", Body: "b"})
		g.sends(task(1))
	})},
	{"default_deduplication_false", byGuard(guard.Config{Defaults: []onceq.Option{onceq.NotUnique},
		Kinds: map[string][]onceq.Option{"mail": {onceq.Unique{}}}}, func(g *guarded) {
		for range 2 {
			equal(g.world, "token", g.sends(task(1)), "")
		}
		g.heldBy(g.sends(mail{To: "a"}), onceq.Scheduled, mail{To: "a"})                     // per task
		g.heldBy(g.sends(task(1), onceq.Unique{}), onceq.Scheduled, task(1), onceq.Unique{}) // per call
	})},
	{"default_ttl", byGuard(guard.Config{Defaults: []onceq.Option{fiveMinutes}}, func(g *guarded) {
		t := g.sends(task(1))
		g.sameTime("frees at", g.dup(task(1)).FreesAt, g.now.Add(5*minute)) // counted from the dispatch
		g.after(5*minute - time.Millisecond)
		g.heldBy(t, onceq.Scheduled, task(1))
		g.after(time.Millisecond)
		next := g.sends(task(1))
		g.handles(t, nil, nil) // a late finisher releases nobody else's lock
		g.heldBy(next, onceq.Scheduled, task(1))
	})},
	{"key_prefix", byGuard(guard.Config{Name: "shop"}, func(g *guarded) {
		same, other := g.world.guard(guard.Config{Name: "shop"}), g.world.guard(guard.Config{Name: "blog"})
		for _, opts := range [][]onceq.Option{nil, {onceq.UniqueKey("welcome", onceq.ByKey)},
			{onceq.UniqueKey("welcome")}, {onceq.Unique{By: onceq.ByKind}}} {
			t := g.sends(task(1), opts...)
			same.heldBy(t, onceq.Scheduled, task(1), opts...)
			other.sends(task(1), opts...)
			g.refused(other.Touch(g.ctx, t)) // and a token is one guard's
		}
		t := g.world.guard(guard.Config{}).sends(task(1)) // there is a name where none is said
		g.world.guard(guard.Config{Name: "default"}).heldBy(t, onceq.Scheduled, task(1))
	})},
	{"duplicate_task_error_names_the_holder_and_a_warning_is_logged", func(w *world) {
		logged := &logbook{}
		g := w.guard(guard.Config{DuplicateLevel: slog.LevelWarn, Logger: slog.New(slog.NewTextHandler(logged, nil))})
		t := g.sends(task(1))
		_, err := g.Send(w.ctx, task(1), func(context.Context, guard.Token) error { return errNo })
		var dup *onceq.DuplicateError
		w.wantErr(err, onceq.ErrDuplicate)
		if !errors.As(err, &dup) || dup.Kind != "task" || dup.Key == (onceq.Key{}) || dup.Holder != string(t) {
			w.Fatalf("got %v", err)
		}
		for _, words := range []string{"level=WARN", "rejected", "holder=" + string(t)} {
			if !strings.Contains(logged.String(), words) {
				w.Errorf("the log does not say %q: %s", words, logged)
			}
		}
	}},
	{"label_deduplication_false", byGuard(guard.Config{Kinds: map[string][]onceq.Option{"task": {onceq.NotUnique}}},
		func(g *guarded) {
			g.sends(task(1))
			equal(g.world, "per task", g.sends(task(1)), "")
			g.sends(mail{To: "a"})
			equal(g.world, "per call", g.sends(mail{To: "a"}, onceq.NotUnique), "")
		})},
	{"label_deduplication_ttl", byGuard(guard.Config{Defaults: []onceq.Option{fiveMinutes},
		Kinds: map[string][]onceq.Option{"task": {onceq.Unique{TTL: minute}}}}, func(g *guarded) {
		for _, c := range []struct {
			args onceq.Args
			opts []onceq.Option
			ttl  time.Duration
		}{{mail{To: "a"}, nil, 5 * minute}, {task(1), nil, minute},
			{task(2), []onceq.Option{onceq.Unique{TTL: time.Hour}}, time.Hour}} {
			g.sends(c.args, c.opts...)
			g.sameTime("frees at", g.dup(c.args, c.opts...).FreesAt, g.now.Add(c.ttl))
		}
	})},
	{"label_deduplication_key", byGuard(guard.Config{Kinds: map[string][]onceq.Option{
		"mail": {onceq.UniqueKey("send-welcome-email")}}}, func(g *guarded) {
		t := g.sends(mail{To: "a"})
		equal(g.world, "args differ", g.dup(mail{To: "b"}).ArgsDiffer, true) // no matter what arguments are passed
		g.heldBy(t, onceq.Scheduled, mail{To: "c", Body: "d"})
		t = g.sends(onceq.Bytes("raw", []byte{1}), onceq.UniqueKey("own")) // and no args are looked into
		g.heldBy(t, onceq.Scheduled, onceq.Bytes("raw", []byte{2}), onceq.UniqueKey("own"))
	})},
	{"difference_an_explicit_key_is_scoped_to_its_kind", byGuard(guard.Config{}, func(g *guarded) {
		g.sends(task(1), onceq.UniqueKey("k"))
		g.sends(mail{To: "a"}, onceq.UniqueKey("k"))
		t := g.sends(task(2), onceq.UniqueKey("k", onceq.ByKey)) // as it is there
		g.heldBy(t, onceq.Scheduled, mail{To: "b"}, onceq.UniqueKey("k", onceq.ByKey))
	})},
	{"label_deduplication_key_fields", byGuard(guard.Config{Kinds: map[string][]onceq.Option{
		"mail": {onceq.Unique{Fields: []string{"to"}}}}}, func(g *guarded) {
		t := g.sends(mail{To: "a", Body: "en"})
		g.heldBy(t, onceq.Scheduled, mail{To: "a", Body: "de"})
		g.sends(mail{To: "b", Body: "en"})
		// Ignored if a key is set.
		g.sends(mail{To: "a", Body: "fr"}, onceq.UniqueKey("own"))
		g.dup(mail{To: "z", Body: "fr"}, onceq.UniqueKey("own"))
	})},
	{"difference_a_field_that_is_missing_is_an_error", byGuard(guard.Config{}, func(g *guarded) {
		_, err := g.Acquire(g.ctx, onceq.JSON("t", []byte(`{"a":1}`)), onceq.Unique{Fields: []string{"b"}})
		g.refused(err)
	})},
	{"the_lock_is_released_when_the_task_completes_or_fails", byGuard(guard.Config{}, func(g *guarded) {
		for _, end := range []error{nil, onceq.Discard(errNo)} {
			t := g.sends(task(1))
			_ = g.Handle(g.ctx, t, func(context.Context) error {
				g.heldBy(t, onceq.Running, task(1)) // queued or running
				return end
			})
			g.free(g.job(string(t)))
		}
	})},
	{"a_long_run_is_kept_alive", byGuard(guard.Config{
		Defaults: []onceq.Option{onceq.Delay(5 * minute)}}, func(g *guarded) {
		t := g.sends(task(1))
		r := g.begins(t)
		g.after(30 * day) // no clock takes the key of a run
		g.heldBy(t, onceq.Running, task(1))
		g.must(r.Context().Err())
		g.must(r.Done(nil))
		next := g.sends(task(1)) // while it is queued, 300 seconds are 300 seconds
		g.after(5*minute - time.Millisecond)
		g.heldBy(next, onceq.Scheduled, task(1))
		g.after(time.Millisecond)
		g.sends(task(1))
	})},
	{"difference_a_failure_that_will_be_retried_keeps_the_lock", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.handles(t, errNo, errNo)
		g.heldBy(t, onceq.Retryable, task(1))
		g.handles(t, nil, nil)
	})},
	{"difference_a_failed_send_does_not_block_for_ten_seconds", byGuard(guard.Config{}, func(g *guarded) {
		_, err := g.Send(g.ctx, task(1), func(context.Context, guard.Token) error { return errNo })
		g.wantErr(err, errNo)
		g.sends(task(1))
	})},
}

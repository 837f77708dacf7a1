package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// guardCalls: the other ways to use a guard, and its options.
var guardCalls = []scenario{
	{"of_many_messages_only_what_was_acquired_is_sent", byGuard(guard.Config{}, func(g *guarded) {
		first := g.sends(task(1))
		items := []onceq.Item{onceq.NewItem(task(1)), onceq.NewItem(task(2)), onceq.NewItem(task(2)),
			onceq.NewItem(task(3), onceq.NotUnique), onceq.NewItem(task(4)), onceq.NewItem(task(5))}
		var sent []guard.Token
		results, err := g.SendMany(g.ctx, items, func(ctx context.Context, ts []guard.Token) []error {
			sent = ts
			equal(g.world, "items", fmt.Sprint(guard.Items(ctx)), "[1 3 4 5]")
			return []error{nil, nil, errNo, guard.Uncertain(errNo)}
		})
		g.must(err)
		g.must(g.Flush(g.ctx))
		equal(g.world, "tokens", line(len(sent), sent[0] == results[1].Token, sent[1]), "4 true ")
		equal(g.world, "holder", g.isDup(results[0].Err).Holder, string(first))
		equal(g.world, "holder in the batch", g.isDup(results[2].Err).Holder, string(sent[0]))
		g.must(results[1].Err)
		g.must(results[3].Err)
		g.wantErr(results[4].Err, errNo)
		g.wantErr(results[5].Err, onceq.ErrUncertain)
		g.gone(string(sent[2]))
		g.heldBy(sent[3], onceq.Scheduled, task(5))
		g.after(minute) // what is in doubt lapses, what was confirmed does not
		g.heldBy(sent[0], onceq.Scheduled, task(2))
		g.sends(task(5))
	})},
	{"one_invalid_message_refuses_all_before_anything_is_sent", byGuard(guard.Config{}, func(g *guarded) {
		_, err := g.SendMany(g.ctx, []onceq.Item{onceq.NewItem(task(1)),
			onceq.NewItem(task(2), onceq.Queue("q"))}, func(context.Context, []guard.Token) []error {
			g.Error("it was sent")
			return nil
		})
		g.refused(err)
		equal(g.world, "claims", len(g.claims()), 0)
	})},
	{"do_runs_once_in_a_fleet", byGuard(guard.Config{}, func(g *guarded) {
		other := g.world.guard(guard.Config{})
		ran := 0
		g.must(g.Do(g.ctx, task(1), func(ctx context.Context) error {
			ran++
			c := g.isDup(other.Do(ctx, task(1), func(context.Context) error { ran++; return nil }))
			equal(g.world, "state", c.State, onceq.Running)
			return nil
		}))
		g.must(other.Do(g.ctx, task(1), func(context.Context) error { ran++; return nil })) // it was over
		equal(g.world, "runs", ran, 2)
	})},
	{"Do_frees_its_key_when_it_fails_and_when_its_process_dies", byGuard(soon, func(g *guarded) {
		for _, err := range []error{errNo, onceq.Discard(errNo), onceq.Cancel(errNo)} {
			g.wantErr(g.Do(g.ctx, task(1), func(context.Context) error { return err }), errNo)
			g.sends(task(1))
			g.remove(g.claims()[0].ID)
		}
		began, end := make(chan struct{}), make(chan struct{})
		defer close(end)
		go g.Do(g.ctx, task(1), func(context.Context) error { close(began); <-end; return nil })
		<-began
		g.link.cut()
		g.after(minute)
		next := g.world.guard(soon)
		next.eventually("the key is free", func() bool {
			return next.Do(g.ctx, task(1), func(context.Context) error { return nil }) == nil
		})
	})},
	{"do_keeps_its_key_for_its_window_only_if_it_succeeds", byGuard(guard.Config{}, func(g *guarded) {
		for i, u := range []onceq.Unique{{Window: time.Hour}, {Until: onceq.UntilFailed, TTL: time.Hour},
			{Until: onceq.UntilSucceeded, Window: time.Hour}} {
			other := g.world.guard(guard.Config{Name: fmt.Sprint("window-", i)})
			for _, err := range []error{errNo, onceq.Cancel(errNo), nil} {
				other.wantErr(other.Do(g.ctx, task(1), func(context.Context) error { return err }, u), err)
			}
			c := other.isDup(other.Do(g.ctx, task(1), func(context.Context) error { return nil }, u))
			equal(g.world, "state", c.State, onceq.Completed)
			g.after(time.Hour)
			g.must(other.Do(g.ctx, task(1), func(context.Context) error { return nil }, u))
		}
	})},
	{"a_redelivery_is_not_refused_by_its_own_claim", byGuard(guard.Config{}, func(g *guarded) {
		once := func(id string, err, want error) {
			g.Helper()
			ran := false
			got := g.Once(g.ctx, id, task(1), func(context.Context) error { ran = true; return err })
			if !errors.Is(got, want) || want == nil && got != nil {
				g.Fatalf("once: %v, want %v", got, want)
			}
			equal(g.world, "ran", ran, !errors.Is(want, guard.ErrDone) && !errors.Is(want, guard.ErrBusy))
		}
		once("evt_1", errNo, errNo)
		g.after(48 * time.Hour) // nobody can take what has no key
		g.must(g.Once(g.ctx, "evt_1", task(1), func(context.Context) error {
			once("evt_1", nil, guard.ErrBusy)
			return nil
		}))
		once("evt_1", nil, guard.ErrDone)
		once("evt_2", nil, nil) // the same args, another message
	})},
	{"a_message_whose_id_was_met_with_other_args_does_not_run", byGuard(guard.Config{}, func(g *guarded) {
		begin := func(args onceq.Args) (*guard.Run, error) { return g.Begin(g.ctx, "req-1", args) }
		r, err := begin(task(1))
		g.must(err)
		for range 2 { // while it runs, and when it has failed
			_, err = begin(task(2))
			c := g.isDup(err)
			equal(g.world, "conflict", line(c.By, c.Holder, c.ArgsDiffer), "id req-1 true")
			g.must(r.Done(errNo))
		}
		if r, err = begin(task(1)); err != nil {
			g.Fatal(err)
		}
		if _, err := begin(task(1)); !errors.Is(err, guard.ErrBusy) {
			g.Fatalf("got %v", err)
		}
		g.must(r.Done(nil))
		if _, err := begin(task(1)); !errors.Is(err, guard.ErrDone) {
			g.Fatalf("got %v", err)
		}
		_, err = begin(task(2))
		equal(g.world, "args differ", g.isDup(err).ArgsDiffer, true)
	})},
	{"the_result_of_the_run_that_ends_a_claim_is_kept", byGuard(guard.Config{}, func(g *guarded) {
		result := func(want string, wantErr error) {
			g.Helper()
			got, err := g.Result(g.ctx, "req-1")
			equal(g.world, "result", string(got), want)
			g.wantErr(err, wantErr)
		}
		result("", onceq.ErrNotFound)
		for _, end := range []error{errNo, nil} {
			r, err := g.Begin(g.ctx, "req-1", task(1))
			g.must(err)
			g.must(r.SetResult(map[string]int{"status": 201}))
			g.refused(r.SetResult(func() {}))
			g.refused(r.SetResult(make([]byte, onceq.MaxResultSize)))
			result("", guard.ErrBusy)
			if end == nil { // who waits gets it
				var waits errgroup
				waits.do(func() error {
					got, err := g.Wait(g.ctx, "req-1")
					if string(got) != `{"status":201}` {
						err = fmt.Errorf("the wait has %s, %w", got, err)
					}
					return err
				})
				defer func() { g.must(waits.wait()) }()
			}
			g.must(r.Done(end))
		}
		result(`{"status":201}`, nil)
		g.must(g.Once(g.ctx, "req-2", task(1), func(context.Context) error { return nil }))
		got, err := g.Result(g.ctx, "req-2")
		equal(g.world, "no result", string(got), "")
		g.must(err)
		g.must(g.Do(g.ctx, task(3), func(context.Context) error { return nil }))
	})},
	{"many_large_results_at_once_are_all_kept", byGuard(guard.Config{}, func(g *guarded) {
		var all errgroup
		for i := range 12 {
			all.do(func() error {
				r, err := g.Begin(g.ctx, fmt.Sprint("big-", i), task(1))
				if err != nil {
					return err
				}
				_ = r.SetResult(fmt.Sprint(i, strings.Repeat("x", 1_000_000)))
				return r.Done(nil)
			})
		}
		g.must(all.wait())
		for i := range 12 {
			got, err := g.Result(g.ctx, guard.Token(fmt.Sprint("big-", i)))
			g.must(err)
			equal(g.world, "length", len(got) > 1_000_000 && string(got[1:1+len(fmt.Sprint(i))]) == fmt.Sprint(i), true)
		}
	})},
	{"NotUnique_sends_without_a_token", byGuard(guard.Config{}, func(g *guarded) {
		for range 2 {
			equal(g.world, "token", g.sends(task(1), onceq.NotUnique), "")
		}
		g.handles("", nil, nil)
		g.handles("", errNo, errNo)
		g.must(g.Do(g.ctx, task(1), func(context.Context) error { return nil }, onceq.NotUnique))
		for _, call := range []func(context.Context, guard.Token) error{g.Confirm, g.Touch, g.Release, g.Replay} {
			g.must(call(g.ctx, ""))
		}
		equal(g.world, "claims", len(g.claims()), 0)
	})},
	{"messages_that_differ_in_other_fields_are_the_same", byGuard(guard.Config{}, func(g *guarded) {
		byTo := onceq.Unique{Fields: []string{"to"}}
		t := g.sends(mail{To: "a", Body: "en"}, byTo)
		for _, c := range []struct {
			args onceq.Args
			want bool
		}{{mail{To: "a", Body: "en"}, false}, {mail{To: "a", Body: "de"}, true},
			{onceq.JSON("mail", []byte(`{"body":"fr","more":[1],"to":"a"}`)), true}} {
			dup := g.dup(c.args, byTo)
			equal(g.world, "conflict", line(dup.Holder, dup.ArgsDiffer), line(t, c.want))
		}
		g.sends(mail{To: "b", Body: "en"}, byTo)
		g.sends(mail{To: "a", Body: "en"}) // another key: all fields
		g.handles(t, nil, nil)
		g.sends(mail{To: "a", Body: "de"}, byTo)
	})},
	{"an_explicit_key_is_scoped_to_its_kind", byGuard(guard.Config{}, func(g *guarded) {
		key := onceq.UniqueKey("42")
		t := g.sends(task(1), key)
		other := g.sends(mail{To: "a"}, key)
		g.heldBy(t, onceq.Scheduled, task(2), key) // whatever the args are
		g.handles(t, nil, nil)
		g.sends(task(3), key)
		g.heldBy(other, onceq.Scheduled, mail{To: "b"}, key) // an end frees the key of its own kind
	})},
	{"payloads_that_cannot_be_encoded_are_refused_not_sent_unguarded", byGuard(
		guard.Config{OnStoreDown: guard.SendUnguarded}, func(g *guarded) {
			for _, args := range []onceq.Args{onceq.JSON("t", []byte(`{"a":1,"a":2}`)), onceq.JSON("t", nil),
				onceq.JSON("", []byte(`1`))} {
				_, err := g.Send(g.ctx, args, func(context.Context, guard.Token) error {
					g.Error("it was sent")
					return nil
				})
				g.refused(err)
			}
			t := g.sends(onceq.Bytes("t", []byte{0xff}))
			g.heldBy(t, onceq.Scheduled, onceq.Bytes("t", []byte{0xff}))
		})},
	{"options_that_mean_nothing_to_a_claim_are_refused", byGuard(guard.Config{}, func(g *guarded) {
		for _, o := range []onceq.Option{onceq.Queue("q"), onceq.RunAt(time.Now()), onceq.Priority(1),
			onceq.MaxAttempts(3), onceq.OnConflict(onceq.Coalesce), onceq.OnConflict(onceq.Skip), onceq.Delay(0)} {
			_, err := g.Acquire(g.ctx, task(1), o)
			g.refused(err)
		}
		_, err := g.Acquire(g.ctx, task(1), reject)
		g.must(err)
	})},
	{"the_patience_of_a_message_that_its_broker_keeps_begins_later", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1), onceq.Delay(time.Hour), guard.NotBefore(time.Now().Add(7*day)))
		if left := g.job(string(t)).RunAt.Sub(g.now); left < 7*day || left > 7*day+time.Hour {
			g.Errorf("it lapses after %v, want seven days and an hour", left)
		}
		t = g.sends(task(2), onceq.Delay(time.Hour), guard.NotBefore(time.Now().Add(-day)))
		g.sameTime("lapses at", g.job(string(t)).RunAt, g.now.Add(time.Hour))
	})},
	{"a_run_says_how_it_ended", byGuard(guard.Config{}, func(g *guarded) {
		for i, c := range []struct {
			err  error
			want onceq.State
		}{{nil, onceq.Completed}, {onceq.Discard(errNo), onceq.Discarded}, {onceq.Cancel(errNo), onceq.Cancelled},
			{onceq.Snooze(time.Hour), onceq.Scheduled}, {errNo, onceq.Retryable}} {
			for _, t := range []guard.Token{g.sends(task(i)), ""} {
				run, err := g.Start(g.ctx, t)
				g.must(err)
				equal(g.world, "before", run.State(), "")
				g.must(run.Done(c.err))
				equal(g.world, "after", run.State(), c.want)
			}
		}
	})},
	{"the_meta_of_a_message_is_kept_beside_the_patience", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1), onceq.Meta(map[string]any{"tenant": "x"}), onceq.Delay(time.Hour))
		equal(g.world, "meta", fmt.Sprint(g.job(string(t)).Meta), "map[onceq.patience_ms:3600000 tenant:x]")
	})},
	{"a_store_that_is_down_refuses_or_is_passed_by", func(w *world) {
		for _, mode := range []guard.StoreDown{guard.Refuse, guard.SendUnguarded} {
			f := &flaky{Store: w.Store}
			f.set(refused)
			g, err := guard.New(f, &guard.Config{OnStoreDown: mode, Logger: silent})
			w.must(err)
			sent := false
			c, err := g.Send(w.ctx, task(1), func(context.Context, guard.Token) error { sent = true; return nil })
			equal(w, "sent", line(sent, errors.Is(err, errRefused), c.Token),
				line(mode == guard.SendUnguarded, mode == guard.Refuse, ""))
			w.must(g.Close())
		}
	}},
	{"a_handler_that_panics_has_failed_and_the_panic_goes_on", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		func() {
			defer func() { equal(g.world, "panic", fmt.Sprint(recover()), "boom") }()
			_ = g.Handle(g.ctx, t, func(context.Context) error { panic("boom") })
		}()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = g.Handle(g.ctx, t, func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-ended
		j := g.is(string(t), onceq.Retryable)
		equal(g.world, "errors", line(len(j.Errors), j.Errors[0].Error), "2 panic: boom")
		g.heldBy(t, onceq.Retryable, task(1))
	})},
	{"the_time_of_a_run_can_be_bounded", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1), onceq.Timeout(time.Millisecond))
		r := g.begins(t)
		g.ending(r)
		g.must(r.Done(r.Context().Err()))
		g.is(string(t), onceq.Retryable)
	})},
	{"a_thousand_runs_cost_one_heartbeat", func(w *world) {
		g := w.guard(guard.Config{})
		items := make([]onceq.Item, 1000)
		for i := range items {
			items[i] = onceq.NewItem(task(i))
		}
		results, err := g.SendMany(g.ctx, items, func(context.Context, []guard.Token) []error { return nil })
		w.must(err)
		runs := make([]*guard.Run, len(results))
		var all errgroup
		for i, r := range results {
			all.do(func() (err error) { runs[i], err = g.Start(g.ctx, r.Token); return err })
		}
		w.must(all.wait())
		g.cancel(string(results[0].Token)) // a heartbeat is sent at once, with all runs
		w.wantErr(g.ending(runs[0]), onceq.ErrCancelRequested)
		for i, r := range runs {
			equal(w, "ended", r.Context().Err() != nil, i == 0)
			all.do(func() error { return r.Done(nil) })
		}
		w.must(all.wait())
		equal(w, "few heartbeats", g.link.beats.Load() < 20, true)
	}},
}

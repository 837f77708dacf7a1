package storetest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// guarding: claims of package guard, in front of somebody else's broker.
var guarding = []scenario{
	{"a_second_send_is_refused_and_names_the_first_message", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.heldBy(t, onceq.Scheduled, task(1))
		other := g.sends(task(2))
		c := g.dup(task(1), onceq.ID(line("x")))
		equal(g.world, "by", line(c.By, c.ArgsDiffer, c.FreesWhen), "key false finished")
		row := g.is(string(t), onceq.Scheduled)
		equal(g.world, "row", line(row.Queue, row.Kind, strings.Contains(row.KeyText, "1"), len(row.Args)),
			"onceq.guard/default task true 34")
		equal(g.world, "tokens differ", t != other, true)
	})},
	{"a_failed_send_leaves_no_claim_and_the_next_is_accepted_at_once", byGuard(guard.Config{}, func(g *guarded) {
		_, err := g.Send(g.ctx, task(1), func(context.Context, guard.Token) error { return errNo })
		g.wantErr(err, errNo)
		equal(g.world, "rows", len(g.jobs()), 0)
		g.sends(task(1))
	})},
	{"a_producer_that_dies_before_the_send_blocks_its_key_for_a_minute_not_a_day", byGuard(guard.Config{},
		func(g *guarded) {
			c, err := g.Acquire(g.ctx, task(1))
			g.must(err)
			g.after(minute - 1)
			g.heldBy(c.Token, onceq.Scheduled, task(1))
			g.after(time.Millisecond)
			g.sends(task(1))
			g.must(g.Confirm(g.ctx, c.Token)) // too late, and it revives nothing
			g.is(string(c.Token), onceq.Cancelled)
			var lapsed *guard.LapsedError
			if err := g.Touch(g.ctx, c.Token); !errors.As(err, &lapsed) || lapsed.By == "" {
				g.Fatalf("touch of a claim that was taken over: %v", err)
			}
		})},
	{"a_send_whose_answer_was_lost_is_sent_again_under_its_own_token", byGuard(guard.Config{}, func(g *guarded) {
		var tokens []guard.Token
		send := func(_ context.Context, t guard.Token) error {
			if tokens = append(tokens, t); len(tokens) == 1 {
				return guard.Uncertain(errNo)
			}
			return nil
		}
		c, err := g.Send(g.ctx, task(1), send)
		var uncertain *onceq.UncertainError
		if !errors.As(err, &uncertain) || !errors.Is(err, errNo) || uncertain.ID != string(c.Token) {
			g.Fatalf("got %v", err)
		}
		g.heldBy(c.Token, onceq.Scheduled, task(1))
		_, err = g.Send(g.ctx, task(1), send, onceq.Resend(err))
		g.must(err)
		equal(g.world, "one token", tokens[0] == tokens[1], true)
		g.handles(tokens[0], nil, nil)
		g.handles(tokens[1], nil, guard.ErrDone)
	})},
	{"an_acquire_whose_answer_was_lost_is_asked_again_and_is_its_own_echo", byGuard(guard.Config{}, func(g *guarded) {
		g.link.loseNext(2)
		t := g.sends(task(1))
		g.heldBy(t, onceq.Scheduled, task(1))
		equal(g.world, "rows", len(g.claims()), 1)
	})},
	{"a_message_that_waits_an_hour_keeps_its_key", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.after(time.Hour)
		g.heldBy(t, onceq.Scheduled, task(1))
		g.after(23*time.Hour - time.Millisecond)
		g.heldBy(t, onceq.Scheduled, task(1))
		g.must(g.Touch(g.ctx, t)) // it is still there
		g.after(day - time.Millisecond)
		g.heldBy(t, onceq.Scheduled, task(1))
		g.after(time.Millisecond)
		g.sends(task(1))
	})},
	{"a_failure_that_will_be_retried_keeps_the_key_and_the_retry_is_not_refused", byGuard(guard.Config{},
		func(g *guarded) {
			t := g.sends(task(1))
			for range 3 {
				g.handles(t, errNo, errNo)
				g.after(time.Hour)
				g.heldBy(t, onceq.Retryable, task(1))
			}
			later := onceq.Snooze(time.Hour)
			g.handles(t, later, later)
			g.after(day + time.Hour - time.Millisecond)
			g.heldBy(t, onceq.Scheduled, task(1))
			g.handles(t, nil, nil)
			g.sends(task(1))
			equal(g.world, "errors", len(g.job(string(t)).Errors), 3)
		})},
	{"the_last_failure_frees_the_key", byGuard(guard.Config{}, func(g *guarded) {
		for state, end := range map[onceq.State]func(error) error{onceq.Discarded: onceq.Discard,
			onceq.Cancelled: onceq.Cancel} {
			t := g.sends(task(1))
			g.handles(t, end(errNo), errNo)
			g.is(string(t), state)
			g.free(g.job(string(t)))
			g.handles(t, nil, guard.ErrDone)
		}
		g.sends(task(1))
	})},
	{"two_copies_at_once_are_one_run", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		other := g.world.guard(guard.Config{})
		r := g.begins(t)
		g.heldBy(t, onceq.Running, task(1))
		g.handles(t, nil, guard.ErrBusy)
		other.handles(t, nil, guard.ErrBusy)
		g.must(r.Done(nil))
		g.must(r.Done(errNo)) // the first call counts
		other.handles(t, nil, guard.ErrDone)
	})},
	{"of_many_copies_at_once_one_runs", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		other := g.world.guard(guard.Config{})
		var ran atomic.Int64
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				run := func(context.Context) error { ran.Add(1); return nil }
				err := []*guarded{g, other}[i%2].Handle(g.ctx, t, run)
				if err != nil && !errors.Is(err, guard.ErrBusy) && !errors.Is(err, guard.ErrDone) {
					g.Errorf("handle: %v", err)
				}
			})
		}
		all.Wait()
		equal(g.world, "runs", ran.Load(), 1)
	})},
	{"a_copy_after_the_end_is_done", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1), onceq.Retention(time.Hour))
		g.handles(t, nil, nil)
		g.after(time.Hour - time.Millisecond)
		g.sweep()
		g.handles(t, nil, guard.ErrDone)
		g.after(time.Millisecond)
		g.sweep()
		g.handles(t, nil, nil) // it is forgotten
	})},
	{"a_start_and_an_end_whose_answers_were_lost_are_one_run", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.link.loseNext(2)
		r := g.begins(t)
		equal(g.world, "run", line(g.job(string(t)).Run, r.Attempt()), "1 1")
		g.link.loseNext(2)
		g.must(r.Done(nil))
		g.is(string(t), onceq.Completed)
		t = g.sends(task(1), onceq.Retention(0))
		r = g.begins(t)
		g.link.loseNext(1)
		g.must(r.Done(nil)) // it was recorded, and is not kept
		g.gone(string(t))
	})},
	{"a_consumer_that_dies_gives_its_message_to_the_next_and_the_key_stays", byGuard(soon,
		func(g *guarded) {
			t := g.sends(task(1))
			r := g.begins(t)
			g.link.cut()
			g.after(minute) // its lease is over
			next := g.world.guard(soon)
			next.handles(t, nil, guard.ErrBusy)
			next.eventually("the claim is rescued", func() bool { return g.job(string(t)).State == onceq.Retryable })
			g.after(day - time.Millisecond) // with its patience
			next.heldBy(t, onceq.Retryable, task(1))
			next.handles(t, nil, nil)
			g.wantErr(r.Done(nil), onceq.ErrClosed)
		})},
	{"a_worker_of_jobs_rescues_a_claim_with_its_patience", byGuard(soon, func(g *guarded) {
		t := g.sends(task(1), onceq.Delay(2*time.Hour))
		r := g.begins(t)
		g.link.cut()
		_ = r.Done(nil) // it reaches nobody
		g.after(minute)
		worker, err := onceq.NewWorker(g.Store, &onceq.WorkerConfig{Lease: soon.Lease,
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}, Logger: slog.New(slog.DiscardHandler)})
		g.must(err)
		worker.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
		g.background(worker)
		g.eventually("the claim is rescued", func() bool { return g.job(string(t)).State == onceq.Retryable })
		g.sameTime("lapses at", g.job(string(t)).RunAt, g.now.Add(2*time.Hour))
	})},
	{"a_late_finisher_frees_nobody_elses_key", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		late := g.begins(t)
		job := g.job(string(t))
		g.ends(job, onceq.Finish{State: onceq.Retryable, Delay: day, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Retryable)
		next := g.world.guard(guard.Config{})
		second := next.begins(t)
		g.wantErr(late.Done(nil), onceq.ErrLeaseLost)
		next.heldBy(t, onceq.Running, task(1))
		g.must(second.Done(nil))
		third := next.sends(task(1))
		next.heldBy(third, onceq.Scheduled, task(1))
	})},
	{"a_shutdown_in_the_middle_of_a_run_keeps_the_key", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		r := g.begins(t)
		done := make(chan error, 1)
		go func() {
			<-r.Context().Done()
			done <- r.Done(context.Cause(r.Context()))
		}()
		g.must(g.Close())
		g.must(<-done)
		next := g.world.guard(guard.Config{})
		g.after(day - time.Millisecond)
		next.heldBy(t, onceq.Retryable, task(1))
		next.handles(t, nil, nil)
		_, err := g.Start(g.ctx, t)
		g.wantErr(err, onceq.ErrClosed)
		_, err = g.Acquire(g.ctx, task(2))
		g.wantErr(err, onceq.ErrClosed)
	})},
	{"a_caller_that_gives_up_a_start_leaves_no_run_behind", byGuard(guard.Config{Lease: 90 * time.Millisecond},
		func(g *guarded) {
			t := g.sends(task(1))
			ctx, cancel := context.WithCancel(g.ctx)
			g.link.loseNext(1)
			g.link.lost = cancel
			_, err := g.Start(ctx, t)
			g.wantErr(err, context.Canceled)
			g.eventually("the claim waits again", func() bool { return g.job(string(t)).State == onceq.Scheduled })
			g.heldBy(t, onceq.Scheduled, task(1))
			g.sameTime("lapses at", g.job(string(t)).RunAt, g.now.Add(day))
			g.handles(t, nil, nil)
		})},
	{"a_lapsed_message_runs_all_the_same", byGuard(guard.Config{}, func(g *guarded) {
		strict := g.world.guard(guard.Config{OnLapsed: guard.DropLapsed})
		old := g.sends(task(1))
		g.after(day)
		t := g.sends(task(1))
		g.handles(old, nil, nil)
		g.heldBy(t, onceq.Scheduled, task(1))
		err := strict.Handle(g.ctx, old, func(context.Context) error { g.Error("it ran"); return nil })
		var lapsed *guard.LapsedError
		if !errors.As(err, &lapsed) || lapsed.By != string(t) || lapsed.Token != old {
			g.Fatalf("got %v", err)
		}
		g.remove(string(old))
		g.handles(old, nil, nil)
	})},
	{"a_lapsed_message_takes_its_key_back_when_it_is_free", byGuard(guard.Config{}, func(g *guarded) {
		old := g.sends(task(1))
		g.after(day)
		r := g.begins(old) // nobody wanted the key meanwhile
		g.must(r.Done(errNo))
		g.after(day)
		t := g.sends(task(1))
		g.handles(t, nil, nil)
		r = g.begins(old)
		g.heldBy(old, onceq.Running, task(1))
		g.must(r.Done(nil))
		g.handles(old, nil, guard.ErrDone)
	})},
	{"an_operator_cancels_a_run_behind_a_foreign_broker", byGuard(guard.Config{},
		func(g *guarded) {
			t := g.sends(task(1))
			r := g.begins(t)
			g.cancel(string(t))
			g.wantErr(g.ending(r), onceq.ErrCancelRequested)
			g.must(r.Done(context.Cause(r.Context())))
			g.is(string(t), onceq.Cancelled)
			g.handles(t, nil, guard.ErrDone)
			g.sends(task(1))
		})},
	{"a_run_whose_lease_is_lost_is_told_so", byGuard(guard.Config{Lease: 90 * time.Millisecond}, func(g *guarded) {
		t := g.sends(task(1))
		r := g.begins(t)
		g.ends(g.job(string(t)), onceq.Finish{State: onceq.Retryable, Delay: day, Worker: "rescuer", Rescue: true,
			Error: "lost"}, onceq.Retryable)
		g.wantErr(g.ending(r), onceq.ErrLeaseLost)
		g.wantErr(r.Done(nil), onceq.ErrLeaseLost)
	})},
	{"a_process_that_was_taken_for_lost_starts_again", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.handles(t, errNo, errNo)
		for try := 0; g.link.unknown.Load() == 0; try++ { // its first heartbeat may come in between
			if try == 5 {
				g.Fatal("the store never took it for lost")
			}
			g.after(minute)
			g.sweep(g.sweep().Expired...)
			g.handles(t, errNo, errNo)
		}
		g.handles(t, nil, nil)
	})},
	{"a_released_claim_is_gone_and_only_by_its_own_token", byGuard(guard.Config{}, func(g *guarded) {
		first := g.sends(task(1))
		g.after(day)
		t := g.sends(task(1))
		g.wantErr(g.Release(g.ctx, first), onceq.ErrNotFound)
		g.heldBy(t, onceq.Scheduled, task(1))
		r := g.begins(t)
		g.wantErr(g.Release(g.ctx, t), guard.ErrBusy)
		g.must(r.Done(errNo))
		g.must(g.Release(g.ctx, t)) // its broker has given it up
		g.gone(string(t))
		g.sends(task(1))
		g.refused(g.Release(g.ctx, guard.Token(g.insert(task(1)).ID))) // no claim
	})},
	{"a_dead_letter_is_replayed_under_its_own_token", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(task(1))
		g.handles(t, onceq.Discard(errNo), errNo)
		g.handles(t, nil, guard.ErrDone)
		g.must(g.Replay(g.ctx, t))
		g.after(day - time.Millisecond)
		g.heldBy(t, onceq.Scheduled, task(1))
		g.handles(t, nil, nil)
		other := g.sends(task(1))
		equal(g.world, "holder", g.isDup(g.Replay(g.ctx, t)).Holder, string(other))
		g.wantErr(g.Replay(g.ctx, "none"), onceq.ErrNotFound)
	})},
	{"nothing_is_left_of_abandoned_claims", byGuard(guard.Config{Lease: 30 * time.Millisecond}, func(g *guarded) {
		for i := range 3 {
			_, err := g.Acquire(g.ctx, task(i), onceq.Retention(time.Hour))
			g.must(err)
		}
		kept := g.sends(task(9))
		g.after(minute + time.Hour + time.Millisecond)
		g.eventually("they are deleted", func() bool { return len(g.claims()) == 1 })
		g.heldBy(kept, onceq.Scheduled, task(9))
	})},
	{"a_claim_is_seen_where_jobs_are_seen", byGuard(guard.Config{Name: "mail"}, func(g *guarded) {
		t := g.sends(mail{To: "a"})
		e, err := g.Explain(g.ctx, mail{To: "a"})
		g.must(err)
		equal(g.world, "explained", line(e.Outcome, e.Conflict.Holder), line(onceq.Rejected, t))
		e, err = g.client.Explain(g.ctx, mail{To: "a"}, onceq.Queue("onceq.guard/mail"), onceq.Unique{})
		g.must(err)
		equal(g.world, "explained by a client", e.Conflict.Holder, string(t))
		keys, err := g.client.KeysPage(g.ctx, onceq.KeyFilter{Queue: "onceq.guard/mail"}, "")
		g.must(err)
		equal(g.world, "keys", line(len(keys.Keys), keys.Keys[0].Holder), line(1, t))
		for j, err := range g.client.Jobs(g.ctx, onceq.JobFilter{All: true}) {
			g.Fatalf("listed without being asked for: %v, %v", j, err)
		}
		equal(g.world, "listed", len(g.claims()), 1)
		c, err := g.Acquire(g.ctx, mail{To: "b"})
		g.must(err)
		equal(g.world, "states", line(g.job(string(t)).ClaimState(), g.job(string(c.Token)).ClaimState(),
			g.insert(task(1)).ClaimState()), "sent in doubt ")
		equal(g.world, "conflict", strings.Contains(g.dup(mail{To: "a"}).String(),
			"is held by claim "+string(t)+" (sent, lapses "), true)
		_, err = g.client.DeleteAll(g.ctx, onceq.JobFilter{All: true})
		g.must(err)
		g.is(string(t), onceq.Scheduled) // it is not deleted by accident
		g.is(string(c.Token), onceq.Scheduled)
	})},
}

// claims are the claims that are there.
func (w *world) claims() (claims []*onceq.JobRow) {
	w.Helper()
	for j, err := range w.client.Jobs(w.ctx, onceq.JobFilter{Reserved: true, All: true}) {
		w.must(err)
		if strings.HasPrefix(j.Queue, "onceq.guard/") {
			claims = append(claims, j)
		}
	}
	return claims
}

package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// fates makes these the fates of the next calls, one after another; the
// last one stays.
func (f *flaky) fates(all ...fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.calls + 1
	f.fate = func(call int) fate { return all[min(call-first, len(all)-1)] }
}

// random draws the fate of each call from some.
func (f *flaky) random(dice *rand.Rand, some ...fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fate = func(int) fate { return some[dice.IntN(len(some))] } // under f.mu
}

// dice are a case's own; the seed is in the log.
func (w *world) dice() *rand.Rand {
	seed := rand.Uint64()
	w.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// answered enqueues until there is an answer, through a connection that fails.
func answered(enqueue func(again onceq.Option) (onceq.Receipt, error)) (r onceq.Receipt, err error) {
	for {
		if r, err = enqueue(onceq.Resend(err)); !errors.Is(err, onceq.ErrUncertain) {
			return r, err
		}
	}
}

// doubts: what a call may say once an answer was lost.
var doubts = []scenario{
	{"once_an_answer_was_lost_only_an_answer_ends_the_doubt", shaky(func(w *world, f *flaky) {
		for i, before := range [][]fate{{answerLost}, {neverSent}, {answerLost, answerLost}, {neverSent, answerLost}} {
			k := onceq.UniqueKey(fmt.Sprint("k", i))
			f.fates(append(slices.Clone(before), refused)...)
			_, err := w.client.Enqueue(w.ctx, task(i), k)
			w.wantErr(err, onceq.ErrUncertain)
			w.wantErr(err, errRefused)
			_, err = w.client.Enqueue(w.ctx, task(i), k, onceq.Resend(err)) // refused again
			w.wantErr(err, onceq.ErrUncertain)
			f.set(fine)
			w.holds(w.insert(task(i), k, onceq.Resend(err)))
			equal(w, "jobs", len(w.jobs()), i+1)
		}
	})},
	{"once_the_answer_for_a_batch_was_lost_only_an_answer_ends_the_doubt", shaky(func(w *world, f *flaky) {
		items := func(n int, err error) (all []onceq.Item) {
			for i := range 3 {
				all = append(all, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(n, i)), onceq.Resend(err)))
			}
			return all
		}
		for n, before := range [][]fate{{answerLost}, {neverSent}, {neverSent, answerLost}} {
			f.fates(append(slices.Clone(before), refused)...)
			_, err := w.client.EnqueueMany(w.ctx, items(n, nil))
			w.wantErr(err, onceq.ErrUncertain)
			w.wantErr(err, errRefused)
			_, err = w.client.EnqueueMany(w.ctx, items(n, err)) // refused again
			w.wantErr(err, onceq.ErrUncertain)
			f.set(fine)
			w.many(each(onceq.Inserted, 3), items(n, err)...)
			equal(w, "jobs", len(w.jobs()), 3*n+3)
		}
	})},
	{"a_definite_error_leaves_no_job_behind_whatever_was_lost_before", shaky(func(w *world, f *flaky) {
		f.random(w.dice(), fine, fine, answerLost, answerLost, neverSent, refused)
		var mu sync.Mutex
		definite, doubtful := 0, 0
		id := func(n int, part string) string { return fmt.Sprint("job ", n, part) }
		one := func(n int) {
			ids := []string{id(n, "")}
			var err error
			if n%8 == 0 {
				ids = []string{id(n, "a"), id(n, "b")}
				_, err = w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(n), onceq.ID(ids[0])),
					onceq.NewItem(task(n), onceq.ID(ids[1]))})
			} else {
				_, err = w.client.Enqueue(w.ctx, task(n), onceq.ID(ids[0]), onceq.UniqueKey(ids[0]))
			}
			jobs, lookErr := w.Store.Get(w.ctx, ids)
			mu.Lock()
			defer mu.Unlock()
			for i, j := range jobs {
				switch {
				case lookErr != nil:
					w.Errorf("get: %v", lookErr)
				case errors.Is(err, onceq.ErrUncertain):
					doubtful++
				case err == nil && j == nil:
					w.Errorf("%s was accepted and is not there", ids[i])
				case err != nil && j != nil:
					w.Errorf("%s is there after the definite error %v", ids[i], err)
				case err != nil:
					definite++
				}
			}
		}
		// a round without errors would tell nothing
		for first := 0; first == 0 || definite == 0 || doubtful == 0; first += 120 {
			together(scaled(120), func(n int) { one(first + n) })
		}
		f.set(fine)
	})},
	{"receipts_of_a_part_of_a_batch_survive_whatever_becomes_of_the_rest", shaky(func(w *world, f *flaky) {
		items := func(n int, err error) (all []onceq.Item) {
			for i := range 8 {
				all = append(all, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(n, i)), onceq.Resend(err)))
			}
			return all
		}
		for n, rest := range []fate{refused, answerLost, neverSent} {
			f.fates(half, half, rest)
			receipts, err := w.client.EnqueueMany(w.ctx, items(n, nil))
			var doubt *onceq.UncertainError
			if !errors.As(err, &doubt) || !slices.Equal(doubt.Items, []int{6, 7}) {
				w.Fatalf("error %v, want an uncertain one that names items 6 and 7", err)
			}
			for i, r := range receipts[:6] {
				w.checkAnswer(onceq.Inserted, r)
				equal(w, "job", r.Job.ID, doubt.IDs[i])
			}
			equal(w, "receipts without an answer", line(receipts[6].Job == nil, receipts[7].Job == nil), "true true")
			f.set(fine)
			for i, r := range w.many(each(onceq.Inserted, 8), items(n, err)...) {
				equal(w, "job", r.Job.ID, doubt.IDs[i])
			}
			equal(w, "jobs", len(w.jobs()), 8*n+8)
		}
	})},
	{"of_twenty_who_race_for_a_key_one_is_told_inserted_whatever_answers_are_lost", shaky(func(w *world, f *flaky) {
		f.trip = 5 * time.Millisecond
		for round, lost := range [][]fate{{answerLost}, {neverSent}, {answerLost, answerLost}, {neverSent, answerLost},
			{answerLost, neverSent}, {fine, answerLost}} {
			k := onceq.UniqueKey(fmt.Sprint(round))
			f.fates(append(append([]fate{fine}, lost...), fine)...)
			var stranger sync.WaitGroup // it is under way while the twenty gather, so that they share a trip
			before := f.count()
			stranger.Go(func() {
				if _, err := w.client.Enqueue(w.ctx, task(round)); err != nil {
					w.Error(err)
				}
			})
			for f.count() == before {
				runtime.Gosched()
			}
			receipts, errs := make([]onceq.Receipt, 20), make([]error, 20)
			together(20, func(i int) {
				receipts[i], errs[i] = answered(func(again onceq.Option) (onceq.Receipt, error) {
					return w.client.Enqueue(w.ctx, task(round), k, reject, again)
				})
			})
			stranger.Wait()
			w.oneOf(onceq.Inserted, onceq.Rejected, receipts, errs)
		}
	})},
	{"of_equal_keys_in_a_batch_one_is_told_inserted_whatever_answers_are_lost", shaky(func(w *world, f *flaky) {
		f.random(w.dice(), fine, answerLost, answerLost, neverSent)
		for round := range scaled(8) {
			var receipts []onceq.Receipt
			var err error
			for again := true; again; again = errors.Is(err, onceq.ErrUncertain) {
				items := make([]onceq.Item, 6)
				for i := range items {
					items[i] = onceq.NewItem(task(i/2), onceq.UniqueKey(fmt.Sprint(round)), onceq.Resend(err))
				}
				receipts, err = w.client.EnqueueMany(w.ctx, items)
			}
			w.must(err)
			w.oneOf(onceq.Inserted, onceq.Skipped, receipts, make([]error, len(receipts)))
		}
		f.set(fine)
	})},
}

package storetest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

// broken is a store that is wrong in one way: each method that is set takes
// the place of the sound store's.
type broken struct {
	onceq.Store
	enqueue func(ctx context.Context, s onceq.Store, rows []onceq.NewRow) ([]onceq.EnqueueResult, error)
	finish  func(ctx context.Context, s onceq.Store, f []onceq.Finish) ([]onceq.FinishResult, error)
	extend  func(ctx context.Context, s onceq.Store, r onceq.ExtendRequest) (onceq.Extended, error)
	change  func(ctx context.Context, s onceq.Store, c onceq.Change) ([]onceq.ChangeResult, error)
	sweep   func(ctx context.Context, s onceq.Store, r onceq.SweepRequest) (onceq.Swept, error)
}

func (b *broken) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	if b.enqueue != nil {
		return b.enqueue(ctx, b.Store, rows)
	}
	return b.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
}

func (b *broken) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	f := r.Runs
	if b.finish != nil {
		return b.finish(ctx, b.Store, f)
	}
	return b.Store.Finish(ctx, onceq.FinishRequest{Runs: f})
}

func (b *broken) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	if b.extend != nil {
		return b.extend(ctx, b.Store, r)
	}
	return b.Store.Extend(ctx, r)
}

func (b *broken) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	if b.change != nil {
		return b.change(ctx, b.Store, c)
	}
	return b.Store.Change(ctx, c)
}

func (b *broken) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	if b.sweep != nil {
		return b.sweep(ctx, b.Store, r)
	}
	return b.Store.Sweep(ctx, r)
}

// holderOf is who holds a key; nil = nobody.
func holderOf(ctx context.Context, s onceq.Store, k onceq.Key) *onceq.HeldKey {
	page, err := s.Keys(ctx, onceq.KeysRequest{Key: &k, Limit: 1})
	if err != nil || len(page.Keys) == 0 {
		return nil
	}
	return page.Keys[0]
}

func release(ctx context.Context, s onceq.Store, k onceq.Key) {
	s.Change(ctx, onceq.Change{Op: onceq.OpRelease, Key: k})
}

// oneByOne enqueues each row in a step of its own.
func oneByOne(each func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error)) func(
	context.Context, onceq.Store, []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	return func(ctx context.Context, s onceq.Store, rows []onceq.NewRow) (results []onceq.EnqueueResult, err error) {
		for _, r := range rows {
			one, err := each(ctx, s, r)
			if err != nil {
				return nil, err
			}
			results = append(results, one)
		}
		return results, nil
	}
}

func enqueueOne(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
	results, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{r}})
	if err != nil {
		return onceq.EnqueueResult{}, err
	}
	return results[0], nil
}

// withHold enqueues on other terms.
func withHold(change func(*onceq.Hold)) func(context.Context, onceq.Store,
	[]onceq.NewRow) ([]onceq.EnqueueResult, error) {
	return oneByOne(func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
		if r.Claim != nil {
			claim := *r.Claim
			change(&claim.Hold)
			r.Claim = &claim
		}
		return enqueueOne(ctx, s, r)
	})
}

// breakages are ways to be wrong, each with cases that must find it.
var breakages = []struct {
	name     string
	make     func() *broken
	caughtBy []string
}{
	{"checks whether a key is free and takes it in another step", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				if r.Claim != nil && holderOf(ctx, s, r.Claim.Key) == nil {
					time.Sleep(time.Millisecond)
					release(ctx, s, r.Claim.Key) // set, whoever has taken it meanwhile
				}
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"races/sixty_four_enqueues_of_one_key_make_one_job", "model/concurrent_histories_are_linearizable"}},

	{"locks for five minutes", func() *broken {
		return &broken{enqueue: withHold(func(h *onceq.Hold) {
			if h.TTL == 0 {
				h.TTL = 5 * time.Minute
			}
		})}
	}, []string{"holding/no_clock_releases_the_key_of_a_job_that_lives", "holding/while_a_job_runs"}},

	{"keeps time in whole seconds", func() *broken {
		return &broken{enqueue: withHold(func(h *onceq.Hold) { h.TTL = h.TTL.Truncate(time.Second) })}
	}, []string{"clocks/a_ttl_is_exact_to_the_millisecond",
		"holding/a_key_is_judged_when_it_is_asked_without_a_sweep"}},

	{"keeps the key of a job that has failed for good", func() *broken {
		return &broken{enqueue: withHold(func(h *onceq.Hold) {
			if h.Until == onceq.UntilFinished {
				h.Until = onceq.UntilSucceeded
			}
		})}
	}, []string{"holding/after_a_job_is_discarded", "model/random_histories_look_like_the_models"}},

	{"anchors at the enqueue", func() *broken {
		return &broken{enqueue: withHold(func(h *onceq.Hold) { h.FromEnqueue = true })}
	}, []string{"holding/while_a_delayed_job_waits"}},

	{"releases a key whoever holds it", func() *broken {
		return &broken{finish: func(ctx context.Context, s onceq.Store,
			fs []onceq.Finish) ([]onceq.FinishResult, error) {
			results, err := s.Finish(ctx, onceq.FinishRequest{Runs: fs})
			for i, r := range results {
				jobs, _ := s.Get(ctx, []string{fs[i].ID})
				if r.Status == onceq.FinishDone && r.State.Finished() && jobs[0] != nil && jobs[0].Key != nil {
					release(ctx, s, *jobs[0].Key)
				}
			}
			return results, err
		}}
	}, []string{"holding/a_late_finisher_does_not_release_the_next_holders_key",
		"finishing/a_repeat_does_not_touch_the_next_holder", "model/random_histories_look_like_the_models"}},

	{"lets any run finish the job", func() *broken {
		return &broken{finish: func(ctx context.Context, s onceq.Store,
			fs []onceq.Finish) ([]onceq.FinishResult, error) {
			fs = slices.Clone(fs)
			for i := range fs {
				if jobs, _ := s.Get(ctx, []string{fs[i].ID}); jobs[0] != nil {
					fs[i].Run, fs[i].Worker = jobs[0].Run, jobs[0].Worker
				}
			}
			return s.Finish(ctx, onceq.FinishRequest{Runs: fs})
		}}
	}, []string{"leases/a_worker_that_lost_its_lease_changes_nothing", "finishing/an_old_run_changes_nothing",
		"finishing/another_worker_changes_nothing", "model/random_histories_look_like_the_models"}},

	{"answers a lost Finish as one that came too late", func() *broken {
		return &broken{finish: func(ctx context.Context, s onceq.Store,
			fs []onceq.Finish) ([]onceq.FinishResult, error) {
			jobs := make([]*onceq.JobRow, len(fs))
			for i, f := range fs {
				j, _ := s.Get(ctx, []string{f.ID})
				jobs[i] = j[0]
			}
			results, err := s.Finish(ctx, onceq.FinishRequest{Runs: fs})
			for i, j := range jobs {
				if j != nil && j.State != onceq.Running {
					results[i] = onceq.FinishResult{Status: onceq.FinishLost}
				}
			}
			return results, err
		}}
	}, []string{"finishing/a_repeat_is_answered_as_the_first_time"}},

	{"answers neither inserted nor with a holder", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				result, err := enqueueOne(ctx, s, r)
				if err == nil && result.Outcome == onceq.Skipped {
					time.Sleep(100 * time.Microsecond) // the conflict was seen; now for the holder
					if holderOf(ctx, s, r.Claim.Key) == nil {
						result.Job, result.Conflict.Holder = &onceq.JobRow{}, ""
					}
				}
				return result, err
			})}
	}, []string{"races/enqueuers_and_completers_of_fifty_keys_never_meet_neither"}},

	{"acknowledges what it loses", func() *broken {
		var n atomic.Int64
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				result, err := enqueueOne(ctx, s, r)
				if err == nil && result.Outcome == onceq.Inserted && n.Add(1)%20 == 0 {
					s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{r.ID}})
				}
				return result, err
			})}
	}, []string{"batches/receipts_come_in_the_order_of_the_items", "model/concurrent_histories_are_linearizable",
		"races/all_policies_at_once_on_few_keys_lose_no_job"}},

	{"takes a resend for another call", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				r.Nonce[7]++
				for jobs, _ := s.Get(ctx, []string{r.ID}); jobs[0] != nil; jobs, _ = s.Get(ctx, []string{r.ID}) {
					r.ID += "'"
				}
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"uncertain/the_client_resends_by_itself_what_had_arrived",
		"uncertain/a_resend_finds_the_job_that_had_arrived", "identity/an_id_that_exists_answers_with_that_job"}},

	{"takes its own echo for a duplicate", func() *broken {
		var n atomic.Int64
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				r.Nonce[7] += byte(n.Add(1))
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"uncertain/a_resend_finds_the_job_that_had_arrived", "uncertain/a_coalesced_job_gets_its_first_answer",
		"model/concurrent_histories_are_linearizable", "model/random_histories_look_like_the_models"}},

	{"leaves a key taken where the ID was met", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				result, err := enqueueOne(ctx, s, r)
				if err == nil && r.Claim != nil && result.Conflict != nil && result.Conflict.By == "id" &&
					holderOf(ctx, s, r.Claim.Key) == nil {
					claim := *r.Claim
					claim.Hold = onceq.Hold{Until: onceq.UntilWindowEnds, Window: time.Hour}
					r.ID, r.Claim = r.ID+"'", &claim
					enqueueOne(ctx, s, r)
					s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{r.ID}})
				}
				return result, err
			})}
	}, []string{"identity/an_id_met_leaves_no_key_taken",
		"batches/an_item_whose_id_is_met_takes_no_key_from_the_next"}},

	{"strands the waiter", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				if r.Reactions.Running == onceq.ActionStand {
					if held := holderOf(ctx, s, r.Claim.Key); held != nil && held.State == onceq.Running {
						r.Delay = 1000 * time.Hour
					}
				}
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"coalesce/a_waiter_gets_the_key_when_the_holder_is_completed",
		"coalesce/every_receipt_has_a_run_that_starts_later",
		"races/a_coalesce_that_meets_the_end_of_the_run_is_never_stranded"}},

	{"drops the latest args behind a run", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				if r.Reactions.Running == onceq.ActionStand {
					if held := holderOf(ctx, s, r.Claim.Key); held != nil && held.Waiter != "" {
						r.Reactions = onceq.Reactions{}
						result, err := enqueueOne(ctx, s, r)
						waiter, _ := s.Get(ctx, []string{held.Waiter})
						result.Outcome, result.Job = onceq.Replaced, waiter[0]
						return result, err
					}
				}
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"coalesce/one_waiter_stands_behind_a_running_holder_with_the_latest_args",
		"coalesce/every_receipt_has_a_run_that_starts_later", "model/random_histories_look_like_the_models"}},

	{"starts a superseding job beside the run", func() *broken {
		return &broken{enqueue: oneByOne(
			func(ctx context.Context, s onceq.Store, r onceq.NewRow) (onceq.EnqueueResult, error) {
				if r.Reactions.Running == onceq.ActionTake {
					if held := holderOf(ctx, s, r.Claim.Key); held != nil && held.State == onceq.Running {
						s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{held.Holder}})
						release(ctx, s, r.Claim.Key)
						result, err := enqueueOne(ctx, s, r)
						result.Outcome, result.Conflict = onceq.Superseded, held.Conflict(r.Claim.Digest)
						return result, err
					}
				}
				return enqueueOne(ctx, s, r)
			})}
	}, []string{"supersede/a_job_never_runs_while_the_one_it_superseded_does",
		"supersede/a_running_holder_is_asked_to_stop_and_the_new_job_waits",
		"model/concurrent_histories_are_linearizable"}},

	{"reports a skipped item of a batch as inserted", func() *broken {
		return &broken{enqueue: func(ctx context.Context, s onceq.Store,
			rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
			results, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
			for i, r := range results {
				if len(rows) > 1 && r.Outcome == onceq.Skipped {
					results[i].Outcome, results[i].Conflict = onceq.Inserted, nil
				}
			}
			return results, err
		}}
	}, []string{"batches/duplicates_inside_a_batch_are_found_and_the_first_wins"}},

	{"never hands back a fetch that was not answered", func() *broken {
		return &broken{extend: func(ctx context.Context, s onceq.Store, r onceq.ExtendRequest) (onceq.Extended, error) {
			r.FetchesDone = 0
			return s.Extend(ctx, r)
		}}
	}, []string{"leases/a_fetch_that_was_never_answered_is_handed_back",
		"supersede/a_superseded_run_whose_fetch_was_never_answered_is_cancelled"}},

	{"rescues whose lease is over at one glance", func() *broken {
		return &broken{sweep: func(ctx context.Context, s onceq.Store, r onceq.SweepRequest) (onceq.Swept, error) {
			seen, err := s.Sweep(ctx, onceq.SweepRequest{Limit: r.Limit})
			if err != nil || len(seen.Expired) == 0 {
				return seen, err
			}
			return s.Sweep(ctx, onceq.SweepRequest{Limit: r.Limit, Lost: seen.Expired})
		}}
	}, []string{"leases/a_rescue_needs_the_same_beat_twice", "leases/a_lease_is_over_by_the_stores_clock"}},

	{"deletes a job and keeps its key", func() *broken {
		return &broken{change: func(ctx context.Context, s onceq.Store, c onceq.Change) ([]onceq.ChangeResult, error) {
			results, err := s.Change(ctx, c)
			if c.Op == onceq.OpDelete && err == nil && results[0].Err == nil && results[0].Job.Key != nil {
				j := results[0].Job
				s.Enqueue(ctx, onceq.EnqueueRequest{
					Rows: []onceq.NewRow{{ID: j.ID + "'", Kind: j.Kind, Queue: j.Queue, MaxAttempts: 1,
						Claim: &onceq.Claim{Key: *j.Key, Text: j.KeyText,
							Hold: onceq.Hold{Until: onceq.UntilWindowEnds, Window: time.Hour}}}}})
				s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{j.ID + "'"}})
			}
			return results, err
		}}
	}, []string{"operators/delete_removes_a_job_and_its_key", "operators/every_way_to_remove_jobs_frees_their_keys",
		"model/concurrent_histories_are_linearizable"}},
}

// brokenEnv names the breakage that TestBroken puts through the suite;
// "sound" is none.
const brokenEnv = "ONCEQ_BROKEN"

// TestBroken is the suite on a broken store. It fails, and is run by
// TestTheSuiteFindsBrokenStores only.
func TestBroken(t *testing.T) {
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip("run by TestTheSuiteFindsBrokenStores")
	}
	open := func(*testing.T) storetest.Harness {
		c := &standClock{}
		b := &broken{}
		for _, x := range breakages {
			if x.name == name {
				b = x.make()
			}
		}
		b.Store = memstore.New(c.now)
		return storetest.Harness{Store: b, SetClock: c.set}
	}
	storetest.Run(t, open)
	t.Run("model", func(t *testing.T) { model.Run(t, open) })
}

// runBroken runs cases on a broken store in another process, and returns
// what it printed and whether it failed.
func runBroken(t *testing.T, name string, cases ...string) (output string, failed bool) {
	var groups, names []string
	for _, c := range cases {
		group, name, _ := strings.Cut(c, "/")
		groups, names = append(groups, group), append(names, name)
	}
	pattern := fmt.Sprintf("^TestBroken$/^(%s)$/^(%s)$", strings.Join(groups, "|"), strings.Join(names, "|"))
	cmd := exec.Command(os.Args[0], "-test.run="+pattern, "-test.v", "-test.timeout=9m", "-rapid.nofailfile",
		"-rapid.shrinktime=1ms", "-rapid.checks=5000")
	cmd.Env = append(os.Environ(), brokenEnv+"="+name)
	if name != "sound" {
		cmd.Env = append(cmd.Env, "ONCEQ_LONG=1") // it ends when something is found
	}
	out, err := cmd.CombinedOutput()
	for _, c := range cases {
		if !strings.Contains(string(out), "=== RUN   TestBroken/"+c+"\n") {
			t.Errorf("there is no case %s:\n%s", c, out)
		}
	}
	return string(out), err != nil
}

func TestTheSuiteFindsBrokenStores(t *testing.T) {
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			out, failed := runBroken(t, b.name, b.caughtBy...)
			for _, c := range b.caughtBy {
				if !failed || !strings.Contains(out, "--- FAIL: TestBroken/"+c+" ") {
					t.Errorf("a store that %s passes %s", b.name, c)
				}
			}
		})
	}
}

// A store that is not broken passes the cases that find the broken ones:
// they fail for the reason that is named.
func TestTheSuiteLetsASoundStorePass(t *testing.T) {
	t.Parallel()
	var cases []string
	for _, b := range breakages {
		for _, c := range b.caughtBy {
			if !strings.HasSuffix(c, "look_like_the_models") && !slices.Contains(cases, c) {
				cases = append(cases, c)
			}
		}
	}
	if out, failed := runBroken(t, "sound", cases...); failed {
		t.Errorf("a sound store fails:\n%s", out)
	}
}

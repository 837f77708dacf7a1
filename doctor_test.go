package onceq_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// ill is a store that shows its jobs and keys otherwise than they are.
type ill struct {
	onceq.Store
	job func(*onceq.JobRow)
	key func(*onceq.HeldKey) bool // false: not shown
}

func (s ill) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	jobs, err := s.Store.Get(ctx, ids)
	for _, j := range jobs {
		if j != nil && s.job != nil {
			s.job(j)
		}
	}
	return jobs, err
}

func (s ill) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	p, err := s.Store.List(ctx, r)
	for _, j := range p.Jobs {
		if s.job != nil {
			s.job(j)
		}
	}
	return p, err
}

func (s ill) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	p, err := s.Store.Keys(ctx, r)
	var shown []*onceq.HeldKey
	for _, k := range p.Keys {
		if s.key == nil || s.key(k) {
			shown = append(shown, k)
		}
	}
	p.Keys = shown
	return p, err
}

// patient is a store with a holder that runs, a waiter behind it, a
// finished job that holds on, and a key whose holder is gone.
func patient(t *testing.T) onceq.Store {
	t.Helper()
	store := memstore.New(func() time.Time { return golden })
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	enqueue := func(key string, opts ...onceq.Option) *onceq.JobRow {
		r, err := client.Enqueue(t.Context(), push{}, append(opts, onceq.UniqueKey(key))...)
		if err != nil {
			t.Fatal(err)
		}
		return r.Job
	}
	enqueue("runs", onceq.Priority(0))
	enqueue("gone", onceq.Priority(1), onceq.Unique{Window: time.Hour}, onceq.Retention(0))
	enqueue("held on", onceq.Priority(1), onceq.Unique{Until: onceq.UntilDeleted})
	if _, err := store.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := store.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 3}}})
	if err != nil || len(f.Jobs) != 3 {
		t.Fatal(f, err)
	}
	for _, j := range f.Jobs[1:] {
		if _, err := store.Finish(t.Context(),
			onceq.FinishRequest{Runs: []onceq.Finish{
				{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}}}); err != nil {
			t.Fatal(err)
		}
	}
	enqueue("runs", onceq.OnConflict(onceq.Coalesce))
	return store
}

func TestDoctorNamesDamageAndFindsNoneInAHealthyStore(t *testing.T) {
	running := func(j *onceq.JobRow) bool { return j.State == onceq.Running }
	for name, c := range map[string]struct {
		ill  ill
		says string // "" = healthy
	}{
		"healthy": {},
		"a key without its job": {ill{key: func(k *onceq.HeldKey) bool { k.Holder += "?"; return true }},
			"does not exist"},
		"a job without its key": {ill{key: func(k *onceq.HeldKey) bool { return k.Waiter == "" }},
			"and the key is free"},
		"a holder of another key": {ill{job: func(j *onceq.JobRow) { j.Key = &onceq.Key{} }},
			"is not a job of this key"},
		"a holder that has ended": {ill{job: func(j *onceq.JobRow) { j.State = onceq.Completed }},
			"and its holder is completed"},
		"a holder that gave it up":      {ill{job: func(j *onceq.JobRow) { j.Keyless = true }}, "had given the key up"},
		"a waiter behind somebody else": {ill{job: func(j *onceq.JobRow) { j.Behind = "" }}, "stands behind"},
		"a waiter its key forgot": {ill{key: func(k *onceq.HeldKey) bool { k.Waiter = ""; return true }},
			"its key does not know it"},
		"a gone holder for ever": {ill{key: func(k *onceq.HeldKey) bool { k.FreesAt = time.Time{}; return true }},
			"is gone and no clock frees the key"},
		"a clock that was forgotten": {ill{job: func(j *onceq.JobRow) {
			if running(j) {
				j.Hold.TTL = time.Hour * 1000
			}
		}}, "which is not what its holder's terms say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.ill.Store = patient(t)
			client, err := onceq.NewClient(c.ill, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			report, err := client.Doctor(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			found := ""
			for _, v := range report.Violations {
				found += v.String() + "\n"
			}
			if c.says == "" && (found != "" || report.Jobs != 3 || report.Keys != 3) {
				t.Errorf("%+v", report)
			}
			if !strings.Contains(found, c.says) {
				t.Errorf("nothing says %q: %s", c.says, found)
			}
		})
	}
}

// What nobody tidies, and what the store knows of, is no violation; but it
// is told.
func TestTheDoctorNamesWhatOnlyGrows(t *testing.T) {
	clock := time.Now().Add(-3 * time.Hour)
	store := memstore.New(func() time.Time { return clock })
	client, err := onceq.NewClient(growing{store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context()
	for _, keep := range []time.Duration{time.Hour, 24 * time.Hour} {
		r, err := client.Enqueue(ctx, onceq.JSON("k", []byte("{}")), onceq.Retention(keep))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Cancel(ctx, r.Job.ID); err != nil {
			t.Fatal(err)
		}
	}
	clock = time.Now()
	report, err := client.Doctor(ctx, nil)
	if err != nil || len(report.Violations) > 0 || len(report.Growth) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for i, want := range []string{"1 finished jobs are kept more than 1h0m0s beyond their retention",
		"the store says so"} {
		if !strings.HasPrefix(report.Growth[i], want) {
			t.Errorf("%q does not begin with %q", report.Growth[i], want)
		}
	}
}

// growing is a store that knows of something that grows.
type growing struct{ onceq.Store }

func (g growing) Traits() onceq.Traits {
	return onceq.Traits{Growth: func(context.Context) ([]string, error) { return []string{"the store says so"}, nil }}
}

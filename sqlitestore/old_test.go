package sqlitestore

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fixture"
)

// firstForm is a copy of a store that commit 3398775 made, in schema 1.
// Everything in it is kept for 20 years, and so are its leases, windows and
// TTLs.
func firstForm(t *testing.T) (path string) {
	t.Helper()
	return madeBy(t, "3398775")
}

// madeBy is a copy of a store that a commit made.
func madeBy(t *testing.T, commit string) (path string) {
	t.Helper()
	packed, err := os.Open("testdata/" + commit + ".db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "jobs.db")
	write(t, path, data)
	return path
}

// firstJobs are the jobs of firstForm: state, kind, queue, and whether the
// job holds its key.
var firstJobs = map[string]string{
	"completed": "completed report default true",
	"discarded": "discarded report default true",
	"retryable": "retryable report default true",
	"cancelled": "cancelled report default false",
	"running":   "running report default true",
	"waiter":    "scheduled report default waits",
	"stopping":  "running report default false",
	"started":   "running report default false",
	"available": "available mail default true",
	"later":     "scheduled mail default true",
	"plain":     "available mail mails false",
	"large":     "available mail mails true",
	"bytes":     "available blob paused true",
}

func TestAStoreOfTheFirstFormKeepsItsJobsAndKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, firstForm(t))
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	keys := map[string]*onceq.HeldKey{} // by holder and by waiter
	for k, err := range client.Keys(ctx, onceq.KeyFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys[k.Holder], keys[k.Waiter] = k, k
	}
	found := map[string]*onceq.JobRow{}
	for j, err := range client.Jobs(ctx, onceq.JobFilter{Args: true}) {
		if err != nil {
			t.Fatal(err)
		}
		found[j.ID] = j
		holds := "false"
		if k := keys[j.ID]; k != nil && k.Holder == j.ID {
			holds = "true"
		} else if k != nil {
			holds = "waits"
		}
		if got := fmt.Sprint(j.State, " ", j.Kind, " ", j.Queue, " ", holds); got != firstJobs[j.ID] {
			t.Errorf("%s is %q, want %q", j.ID, got, firstJobs[j.ID])
		}
	}
	if len(found) != len(firstJobs) {
		t.Errorf("there are %d jobs, want %d", len(found), len(firstJobs))
	}
	if k := keys["gone"]; k == nil || !k.Gone || k.Text != `kind=report key="gone"` ||
		time.Until(k.FreesAt) < 365*24*time.Hour {
		t.Errorf("the window of a job that is gone: %+v", k)
	}
	a := found["available"]
	if string(a.Args) != `{"to":"ada","n":1.50}` || a.Priority != 3 || fmt.Sprint(a.Tags) != "[a b]" ||
		fmt.Sprint(a.Meta) != "map[trace:t-1]" {
		t.Errorf("%+v", a)
	}
	if r := found["retryable"]; r.Attempt != 1 || len(r.Errors) != 1 || r.Errors[0].Error != "connection refused" {
		t.Errorf("%+v", r)
	}
	if l := found["large"]; len(l.Args) != 20_002 {
		t.Errorf("large has %d bytes", len(l.Args))
	}
	if b := found["bytes"]; b.Encoding != onceq.EncodingBytes || string(b.Args) != "\x00\x01\x02\xff" {
		t.Errorf("%+v", b)
	}
	if d, err := client.Doctor(ctx, nil); err != nil || len(d.Violations) > 0 {
		t.Fatal(d, err)
	}
}

func TestAStoreOfTheFirstFormKeepsItsPromises(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, firstForm(t))
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, key := range []string{"completed", "discarded", "retryable", "gone", "running", "available",
		"later", "large"} {
		kind := "report"
		if key == "available" || key == "later" || key == "large" {
			kind = "mail"
		}
		r, err := client.Enqueue(ctx, onceq.JSON(kind, []byte(`{}`)), onceq.UniqueKey(key))
		if err != nil || r.Outcome != onceq.Skipped || r.Job.ID != key {
			t.Errorf("key %s: %s %v %v", key, r.Outcome, r.Job, err)
		}
	}
	if r, err := client.Enqueue(ctx, onceq.JSON("report", []byte(`{}`)), onceq.ID("cancelled")); err != nil ||
		r.Outcome != onceq.Skipped {
		t.Errorf("an ID that is known: %v %v", r, err)
	}
	for _, key := range []string{"cancelled", "started"} { // released
		r, err := client.Enqueue(ctx, onceq.JSON("report", []byte(`{}`)), onceq.UniqueKey(key), onceq.Delay(time.Hour))
		if err != nil || r.Outcome != onceq.Inserted {
			t.Errorf("key %s: %s %v", key, r.Outcome, err)
		}
	}

	// The old worker's runs are its own, and a heartbeat tells which of
	// them is to stop.
	run := func(id string) onceq.Run { return onceq.Run{ID: id, Run: 1} }
	e, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "old", Lease: time.Minute, FetchesDone: 10,
		Runs: []onceq.Run{run("running"), run("stopping"), run("started")}})
	if err != nil || len(e.Lost) > 0 || e.Back > 0 || fmt.Sprint(e.Stop) != fmt.Sprint([]onceq.Run{run("stopping")}) {
		t.Fatal(e, err)
	}
	f, err := s.Finish(ctx, onceq.FinishRequest{Runs: []onceq.Finish{
		{ID: "running", Run: 1, Worker: "old", State: onceq.Completed},
		{ID: "stopping", Run: 1, Worker: "old", State: onceq.Retryable, Error: "stopped"},
		{ID: "started", Run: 1, Worker: "old", State: onceq.Retryable, Error: "later", Delay: time.Hour}}})
	if err != nil || f[0].State != onceq.Completed || f[0].Wake != "default" || f[1].State != onceq.Cancelled ||
		f[2].State != onceq.Retryable {
		t.Fatal(f, err)
	}

	// What waits is found by its kind; the waiter may run now, and what is
	// paused is not fetched.
	got := map[string]int{}
	for no, kinds := range [][]string{{"report"}, {"mail"}, {"blob", "other"}, nil} {
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "old", No: int64(20 + no), Kinds: kinds,
			Queues: []onceq.QueueSlots{
				{Queue: "default", Slots: 10}, {Queue: "mails", Slots: 10}, {Queue: "paused", Slots: 10}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range f.Jobs {
			got[j.ID] = len(j.Args)
		}
	}
	if want := fmt.Sprint(map[string]int{"waiter": 7, "available": 21, "plain": 12,
		"large": 20_002}); fmt.Sprint(got) != want {
		t.Errorf("fetched %v, want %s", got, want)
	}
	if d, err := client.Doctor(ctx, nil); err != nil || len(d.Violations) > 0 {
		t.Fatal(d, err)
	}
}

func TestAStoreMadeByCommitB451a97KeepsEverything(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/b451a97.txt")
	if err != nil {
		t.Fatal(err)
	}
	client, err := onceq.NewClient(opened(t, madeBy(t, "b451a97")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	differences, err := fixture.Differences(t.Context(), client, string(want))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
	if err := client.Resume(t.Context(), "paused queue"); err != nil {
		t.Fatal(err)
	}
	if d, err := client.Doctor(t.Context(), nil); err != nil || len(d.Violations) > 0 {
		t.Fatal(d, err)
	}
}

// What an older program does with a newer form: there is no newer program
// than this one here, so this one plays the older.
func TestAnOlderProgramRefusesANewerForm(t *testing.T) {
	t.Parallel()
	path := firstForm(t)
	opened(t, path).Close()
	execute(t, path, fmt.Sprintf("UPDATE onceq_meta SET value = %d WHERE name = 'schema'", schema+1))
	_, err := Open(path, nil)
	if !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "upgrade onceq") {
		t.Fatal(err)
	}
}

package redisstore

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fixture"
	"github.com/onceq/onceq/internal/redistest"
)

// madeBy puts a partition as a commit left it into a new namespace, with one of everything in it:
// see testdata/store-3398775.go.txt and, for b451a97, the same folder of pgstore.
func madeBy(t *testing.T, commit, url, namespace string) {
	text, err := os.ReadFile("testdata/store-" + commit + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var dump map[string][]byte
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	for key, value := range dump {
		if err := c.Restore(t.Context(), "{"+namespace+":0}:"+key, 0, string(value)).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreMadeByAnEarlierVersionOpensAndKeepsEverything(t *testing.T) {
	for _, commit := range []string{"3398775", "b451a97"} {
		t.Run(commit, func(t *testing.T) { keepsEverything(t, commit) })
	}
}

func keepsEverything(t *testing.T, commit string) {
	want, err := os.ReadFile("testdata/store-" + commit + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	url, ctx, space := redistest.URL(t), t.Context(), namespace()
	madeBy(t, commit, url, space)
	s := open(t, url, Config{Namespace: space})
	setClock(t, s, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := clientOf(t, s)

	wantFixture(t, c, string(want))
	soundStore(t, s, c)

	// What holds its key holds it still.
	for key, outcome := range map[string]onceq.Outcome{"key completed": onceq.Inserted, "key discarded": onceq.Skipped,
		"key cancelled": onceq.Skipped, "key kept": onceq.Skipped, "key rests": onceq.Skipped,
		"key gone":    onceq.Skipped,
		"key deleted": onceq.Skipped, "replaced": onceq.Skipped, "released": onceq.Inserted} {
		r, err := c.Enqueue(ctx, onceq.JSON("order", []byte(`{}`)), onceq.UniqueKey(key))
		if err != nil || r.Outcome != outcome {
			t.Errorf("key %q: %s, %v, want %s", key, r.Outcome, err, outcome)
		}
	}

	// What waits runs, by kind, and what runs ends.
	extend := onceq.ExtendRequest{Worker: "new", Lease: time.Minute}
	if _, err := s.Extend(ctx, extend); err != nil {
		t.Fatal(err)
	}
	fetch := func(no int64, kinds []string, queues ...string) []*onceq.JobRow {
		t.Helper()
		r := onceq.FetchRequest{Worker: "new", No: no, Kinds: kinds}
		for _, q := range queues {
			r.Queues = append(r.Queues, onceq.QueueSlots{Queue: q, Slots: 100})
		}
		f, err := s.Fetch(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return f.Jobs
	}
	finish := func(jobs ...*onceq.JobRow) {
		t.Helper()
		for _, j := range jobs {
			end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed}
			r, err := s.Finish(ctx, onceq.FinishRequest{Runs: []onceq.Finish{end}})
			if err != nil || r[0].Status != onceq.FinishDone {
				t.Errorf("%s: %+v, %v", j.ID, r, err)
			}
		}
	}
	var ran []string
	for _, j := range fetch(1, []string{"raw", "order"}, "default", "retry") {
		ran = append(ran, j.ID)
		finish(j)
	}
	for _, id := range []string{"waiting", "unique", "fields", "window", "raw", "large", "own key", "retryable"} {
		if !slices.Contains(ran, id) {
			t.Errorf("%q did not run: %q", id, ran)
		}
	}
	for _, id := range []string{"running", "asked to stop"} {
		j, err := c.Job(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		finish(j)
	}
	if jobs := fetch(2, []string{"order"}, "running"); len(jobs) != 3 {
		t.Errorf("%d jobs of queue running, want the two that stood behind and the one that superseded", len(jobs))
	}
	soundStore(t, s, c)
}

// wantFixture compares all that a store has with what the fixture says.
func wantFixture(t *testing.T, c *onceq.Client, want string) {
	t.Helper()
	differences, err := fixture.Differences(t.Context(), c, want)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// Once no old worker was there for a while, its data is brought to the new
// form, and says the same.
func TestAStoreMadeByCommit3398775IsBroughtToTheNewForm(t *testing.T) {
	want, err := os.ReadFile("testdata/store-3398775.txt")
	if err != nil {
		t.Fatal(err)
	}
	url, ctx, space := redistest.URL(t), t.Context(), namespace()
	madeBy(t, "3398775", url, space)
	old := open(t, url, Config{Namespace: space})
	inForm(t, old, formOld)
	meta, ix := old.parts[0].meta(), old.parts[0].keys[2]
	leases, err := old.client.ZRangeByLex(ctx, ix, &redis.ZRangeBy{Min: "[l", Max: "(m"}).Result()
	if err != nil || len(leases) == 0 {
		t.Fatalf("the fixture has no worker: %v", err)
	}
	for _, l := range leases {
		old.client.ZRem(ctx, ix, l)
		old.client.HDel(ctx, meta, "k"+l[7:])
	}
	old.client.HDel(ctx, meta, "old") // ten minutes pass
	s := open(t, url, Config{Namespace: space})
	inForm(t, s, formNew)
	setClock(t, s, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := clientOf(t, s)
	wantFixture(t, c, string(want))
	soundStore(t, s, c)
}

// soundStore wants a store in which the doctor finds nothing.
func soundStore(t *testing.T, s *Store, c *onceq.Client) {
	t.Helper()
	lines, err := s.Check(t.Context())
	if err != nil || len(lines) > 0 {
		t.Errorf("check: %q, %v", lines, err)
	}
	report, err := c.Doctor(t.Context(), nil)
	if err != nil || len(report.Violations) > 0 {
		t.Errorf("doctor: %q, %v", report.Violations, err)
	}
}

package redisstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// madeBy3398775 puts a partition as commit 3398775 left it into a new namespace, with one of
// everything in it: see testdata/store-3398775.go.txt.
func madeBy3398775(t *testing.T, url, namespace string) {
	text, err := os.ReadFile("testdata/store-3398775.json")
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

func TestAStoreMadeByCommit3398775OpensAndKeepsEverything(t *testing.T) {
	want, err := os.ReadFile("testdata/store-3398775.txt")
	if err != nil {
		t.Fatal(err)
	}
	url, ctx, space := redistest.URL(t), t.Context(), namespace()
	madeBy3398775(t, url, space)
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
	ctx := t.Context()
	var got bytes.Buffer
	for j, err := range c.Jobs(ctx, onceq.JobFilter{Args: true}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&got, jobLine(t, j))
	}
	for k, err := range c.Keys(ctx, onceq.KeyFilter{Inert: true}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&got, keyLine(k))
	}
	queues, err := c.Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		fmt.Fprintf(&got, "queue %q paused=%v %v\n", q.Name, q.Paused, q.Counts)
	}
	a, b := strings.Split(want, "\n"), strings.Split(got.String(), "\n")
	if len(a) != len(b) {
		t.Errorf("%d lines, want %d", len(b), len(a))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("line %d\n got %s\nwant %s", i+1, b[i], a[i])
		}
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
	madeBy3398775(t, url, space)
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

// jobLine is how the fixture writes a job down.
func jobLine(t *testing.T, j *onceq.JobRow) string {
	meta, err := json.Marshal(j.Meta)
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("job %q kind=%q queue=%q state=%s args=%q encoding=%s meta=%s tags=%q priority=%d "+
		"attempt=%d/%d run=%d timeout=%v retention=%v"+
		" enqueued=%d due=%d started=%d finished=%d anchor=%d hold=%d/%v/%v/%v key=%v text=%q digest=%x "+
		"origin=%s worker=%q behind=%q displaced=%q by=%q cancel=%v keyless=%v",
		j.ID, j.Kind, j.Queue, j.State, j.Args, j.Encoding, meta, j.Tags, j.Priority,
		j.Attempt, j.MaxAttempts, j.Run, j.Timeout, j.Retention,
		milli(j.EnqueuedAt), milli(j.RunAt), milli(j.StartedAt), milli(j.FinishedAt), milli(j.Anchor),
		int(j.Hold.Until), j.Hold.Window, j.Hold.TTL, j.Hold.FromEnqueue, j.Key, j.KeyText,
		j.Digest, j.Origin, j.Worker, j.Behind, j.Displaced, j.SupersededBy, j.CancelRequested, j.Keyless)
	for _, e := range j.Errors {
		line += fmt.Sprintf(" error=%d/%d/%d/%q/%q", e.Attempt, e.Run, milli(e.At), e.Error, e.Stack)
	}
	return line
}

// keyLine is how the fixture writes a key down.
func keyLine(k *onceq.HeldKey) string {
	return fmt.Sprintf("key %v holder=%q waiter=%q kind=%q queue=%q text=%q state=%s "+
		"since=%d frees=%d gone=%v inert=%v digest=%x",
		k.Key, k.Holder, k.Waiter, k.Kind, k.Queue, k.Text, k.State,
		milli(k.Since), milli(k.FreesAt), k.Gone, k.Inert, k.Digest)
}

// milli is an instant as the fixture writes it down.
func milli(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

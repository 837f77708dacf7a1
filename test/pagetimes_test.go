package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// slowestPage is how long a page may take, in the middle of several tries.
const slowestPage = 300 * time.Millisecond

// asked is a store that counts what it is asked.
type asked struct {
	onceq.Store
	calls atomic.Int64
}

func (a *asked) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	a.calls.Add(1)
	return a.Store.Get(ctx, ids)
}

func (a *asked) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	a.calls.Add(1)
	return a.Store.List(ctx, r)
}

func (a *asked) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	a.calls.Add(1)
	return a.Store.Keys(ctx, r)
}

func (a *asked) Queues(ctx context.Context, r onceq.QueuesRequest) (onceq.QueueList, error) {
	a.calls.Add(1)
	return a.Store.Queues(ctx, r)
}

func (a *asked) Workers(ctx context.Context) ([]onceq.WorkerInfo, error) {
	a.calls.Add(1)
	return a.Store.Workers(ctx)
}

func (a *asked) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	a.calls.Add(1)
	return a.Store.Stats(ctx, r)
}

// TestPagesAnswerInTimeBesideManyJobs asks for every page of a store with many
// jobs, each of which holds its key: with ONCEQ_PAGES=1000000 (make pages) a
// million on SQLite and PostgreSQL, and 200,000 on Redis, which has them in
// memory. Then each page has to come within slowestPage. Otherwise it is 2,000
// jobs, and only how many calls of the store a page makes is judged.
func TestPagesAnswerInTimeBesideManyJobs(t *testing.T) {
	many, _ := strconv.Atoi(os.Getenv("ONCEQ_PAGES"))
	for name, start := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t, "-c", "fsync=off").URL() },
		"redis":    func(t *testing.T) string { return redistest.Start(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			n := many
			if name == "redis" {
				n = many / 5
			}
			pagesInTime(t, start(t), n)
		})
	}
}

func pagesInTime(t *testing.T, where string, n int) {
	t.Helper()
	plain, err := storeurl.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plain.Close() })
	store := &asked{Store: plain}
	quiet := slog.New(slog.DiscardHandler)
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quiet, NoTally: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	d, err := dashboard.New(client, &dashboard.Config{Authorize: dashboard.Everyone, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	began := time.Now()
	j := crowd(t, client, plain, max(n, 2000))
	t.Logf("%d jobs were made in %s", max(n, 2000), time.Since(began).Round(time.Second))
	for _, p := range pagesBesideMany(j) {
		p.measure(t, server.URL+"/", store, n > 0)
	}
}

// timedPage is a page that is measured. One with a form is asked for by POST.
type timedPage struct {
	name, path string
	form       url.Values
	calls      int64 // of the store, at most
}

func pagesBesideMany(j *onceq.JobRow) []timedPage {
	return []timedPage{
		{name: "Overview", calls: 3},
		{name: "Jobs", path: "jobs", calls: 1},
		{name: "Jobs, running", path: "jobs?state=running", calls: 1},
		{name: "Jobs, failed for good", path: "jobs?state=discarded", calls: 1},
		{name: "Jobs of a queue, due", path: "jobs?queue=q1&state=available", calls: 1},
		{name: "Jobs of a queue", path: "jobs?queue=q3", calls: 1},
		{name: "Jobs of a kind that is not", path: "jobs?kind=nobody", calls: 1},
		{name: "Jobs of a tag that is not", path: "jobs?tag=nobody", calls: 1},
		{name: "Jobs of a worker that is not", path: "jobs?worker=nobody", calls: 1},
		{name: "Jobs of a key", path: "jobs?key=" + j.Key.String(), calls: 1},
		{name: "Job", path: "jobs/" + j.ID, calls: 5},
		{name: "Keys", path: "keys", calls: 1},
		{name: "Keys of a queue", path: "keys?queue=q1", calls: 1},
		{name: "Keys by first digits", path: "keys?prefix=" + j.Key.String()[:4], calls: 1},
		{name: "Keys by a text that matches nothing", path: "keys?text=nobody", calls: 1},
		{name: "Key", path: "keys/" + j.Key.String(), calls: 5},
		{name: "Key that is free", path: "keys/" + strings.Repeat("0", 64), calls: 3},
		{name: "Queues", path: "queues", calls: 3},
		{name: "Workers", path: "workers", calls: 3},
		{name: "Conflicts", path: "conflicts", calls: 1},
		{name: "Conflicts of 8 days", path: "conflicts?span=8d", calls: 1},
		{name: "Policies", path: "policies", calls: 2},
		{name: "Periodic", path: "periodic", calls: 3},
		{name: "System", path: "system", calls: 1},
		{name: "Find a text", path: "find?q=nobody", calls: 2},
		{name: "Question before a change of all due", path: "jobs/cancel", form: url.Values{"state": {"available"}},
			calls: 100}, // as many as it can in its 200 ms
		{name: "Question before a change of a kind that is not", path: "jobs/cancel",
			form: url.Values{"kind": {"nobody"}}, calls: 100},
	}
}

// measure asks for a page several times.
func (p *timedPage) measure(t *testing.T, base string, store *asked, judge bool) {
	t.Helper()
	var took []time.Duration
	var calls int64
	for range 9 {
		store.calls.Store(0)
		began := time.Now()
		p.ask(t, base)
		took = append(took, time.Since(began))
		calls = max(calls, store.calls.Load())
	}
	slices.Sort(took)
	middle := took[len(took)/2]
	t.Logf("| %s | %.1f | %.1f | %d |", p.name, ms(took[0]), ms(middle), calls)
	if judge && middle > slowestPage {
		t.Errorf("%s takes %s", p.name, middle)
	}
	if calls > p.calls {
		t.Errorf("%s makes %d calls of the store, want at most %d", p.name, calls, p.calls)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (p *timedPage) ask(t *testing.T, base string) {
	t.Helper()
	var res *http.Response
	var err error
	if p.form != nil {
		res, err = http.PostForm(base+p.path, p.form)
	} else {
		res, err = http.Get(base + p.path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound {
		t.Fatalf("%s: %s %v %s", p.name, res.Status, err, body)
	}
}

// crowd makes n jobs in five queues, in all states, each of which holds a key of
// its own, and what clients and workers would have noted. It returns one of
// them.
func crowd(t *testing.T, client *onceq.Client, store onceq.Store, n int) *onceq.JobRow {
	t.Helper()
	var wait sync.WaitGroup
	var next atomic.Int64
	var first atomic.Pointer[onceq.JobRow]
	const batch = 1000
	for range 4 {
		wait.Go(func() {
			for from := next.Add(batch) - batch; from < int64(n); from = next.Add(batch) - batch {
				var items []onceq.Item
				for i := from; i < min(from+batch, int64(n)); i++ {
					opts := []onceq.Option{onceq.Queue(fmt.Sprint("q", i%5)), onceq.Tags("tenant-" + fmt.Sprint(i%100)),
						onceq.Unique{Fields: []string{"to"}, Window: 48 * time.Hour}, onceq.Retention(48 * time.Hour),
						onceq.Priority(int(i % 3))}
					if i%10 == 9 {
						opts = append(opts, onceq.Delay(time.Hour))
					}
					args := fmt.Sprintf(`{"to":"user-%d@example.com","subject":"Your week in numbers"}`, i)
					items = append(items, onceq.NewItem(onceq.JSON(fmt.Sprint("mail-", i%7), []byte(args)), opts...))
				}
				r, err := client.EnqueueMany(t.Context(), items)
				if err != nil {
					t.Error(err)
					return
				}
				first.CompareAndSwap(nil, r[0].Job)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	finishSome(t, store, n*3/10)
	noteMuch(t, store, first.Load())
	return first.Load()
}

// finishSome runs n jobs: nine of ten are completed, the others fail, and some
// go on running.
func finishSome(t *testing.T, store onceq.Store, n int) {
	t.Helper()
	worker := fmt.Sprintf("web-1-%d-k7m2", n)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := store.Extend(t.Context(), onceq.ExtendRequest{Worker: worker, Lease: 24 * time.Hour,
		About: []byte(`{"host":"web-1","pid":4711,"queues":{"q0":500,"q1":500}}`)})
	must(err)
	for no := int64(1); n > 0; no++ {
		got, err := store.Fetch(t.Context(), onceq.FetchRequest{Worker: worker, No: no,
			Queues: []onceq.QueueSlots{{Queue: fmt.Sprint("q", no%5), Slots: 500}}})
		must(err)
		n -= len(got.Jobs)
		var runs []onceq.Run
		var ends []onceq.Finish
		for i, j := range got.Jobs {
			end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: worker, State: onceq.Completed}
			switch {
			case n <= 0:
				runs = append(runs, onceq.Run{ID: j.ID, Run: j.Run})
				continue
			case i%20 == 0:
				end.State, end.Error = onceq.Discarded, "no such mailbox"
			case i%20 == 1:
				end.State, end.Error, end.Delay = onceq.Retryable, "connection refused", time.Hour
			}
			ends = append(ends, end)
		}
		if len(ends) > 0 {
			_, err = store.Finish(t.Context(), onceq.FinishRequest{Runs: ends})
			must(err)
		}
		_, err = store.Extend(t.Context(), onceq.ExtendRequest{Worker: worker, Lease: 24 * time.Hour, Runs: runs,
			FetchesDone: no})
		must(err)
	}
}

// noteMuch notes as much as a store keeps: many kinds, hot keys and sightings.
func noteMuch(t *testing.T, store onceq.Store, j *onceq.JobRow) {
	t.Helper()
	for i := range 120 {
		notes := onceq.Notes{Nonce: [16]byte{byte(i), 9}}
		for k := range 35 {
			notes.Tallies = append(notes.Tallies, onceq.Tally{Queue: fmt.Sprint("q", k%5),
				Kind: fmt.Sprint("mail-", k%7), Terms: "fields=/to until=finished window=48h0m0s",
				Count: onceq.Count{Enqueued: [6]int64{20, 60}, Ended: [6]int64{20, 2}, RunMS: 24_000, WaitMS: 800}})
		}
		for k := range 10 {
			key := *j.Key
			key[0], key[1] = byte(i), byte(k)
			notes.Hot = append(notes.Hot, onceq.HotKey{Key: key, Kind: j.Kind, Text: j.KeyText,
				Holder: j.ID, Count: 40})
			c := onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.ID, State: onceq.Running,
				Since: j.EnqueuedAt, HolderKind: j.Kind}
			notes.Seen = append(notes.Seen, onceq.Sighting{Ago: time.Second, Queue: j.Queue, Kind: j.Kind,
				From: "api-1/300", Outcome: onceq.Skipped, Conflict: c})
		}
		if err := store.Note(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
	}
}

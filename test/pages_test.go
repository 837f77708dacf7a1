package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
	"github.com/onceq/onceq/internal/memstore"
)

// pageWorld is a store with pages on it.
type pageWorld struct {
	*testing.T
	store  onceq.Store
	client *onceq.Client
	url    string
	ago    atomic.Int64 // how far the clock of the store is behind, in nanoseconds
	broken *atomic.Bool // the store does not answer
}

// brittle is a store that does not answer while broken is set.
type brittle struct {
	onceq.Store
	broken *atomic.Bool
}

var errBroken = errors.New("the disk is gone")

func (b *brittle) err() error {
	if b.broken.Load() {
		return errBroken
	}
	return nil
}

func (b *brittle) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.Store.Get(ctx, ids)
}

func (b *brittle) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	if err := b.err(); err != nil {
		return onceq.JobPage{}, err
	}
	return b.Store.List(ctx, r)
}

func (b *brittle) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	if err := b.err(); err != nil {
		return onceq.KeyPage{}, err
	}
	return b.Store.Keys(ctx, r)
}

func (b *brittle) Queues(ctx context.Context, r onceq.QueuesRequest) (onceq.QueueList, error) {
	if err := b.err(); err != nil {
		return onceq.QueueList{}, err
	}
	return b.Store.Queues(ctx, r)
}

func (b *brittle) Workers(ctx context.Context) ([]onceq.WorkerInfo, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.Store.Workers(ctx)
}

func (b *brittle) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	if err := b.err(); err != nil {
		return onceq.Stats{}, err
	}
	return b.Store.Stats(ctx, r)
}

func newPageWorld(t *testing.T) *pageWorld {
	t.Helper()
	w := &pageWorld{T: t, broken: &atomic.Bool{}}
	w.store = memstore.New(func() time.Time { return time.Now().Add(-time.Duration(w.ago.Load())) })
	quiet := slog.New(slog.DiscardHandler)
	var err error
	w.client, err = onceq.NewClient(&brittle{w.store, w.broken}, &onceq.Config{Logger: quiet, NoTally: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.client.Close() })
	d, err := dashboard.New(
		w.client,
		&dashboard.Config{Authorize: dashboard.Everyone, Logger: quiet, Version: "v0.1.0"},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	w.url = pageServer(t, d)
	return w
}

// at sets the clock of the store back.
func (w *pageWorld) at(ago time.Duration) { w.ago.Store(int64(ago)) }

func (w *pageWorld) enqueue(kind, args string, opts ...onceq.Option) onceq.Receipt {
	w.Helper()
	r, err := w.client.Enqueue(w.Context(), onceq.JSON(kind, []byte(args)), opts...)
	if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
		w.Fatal(err)
	}
	return r
}

// run fetches all that is due in a queue, and ends it as said.
func (w *pageWorld) run(worker, queue string, no int64, end func(*onceq.JobRow) *onceq.Finish) {
	w.Helper()
	about := fmt.Appendf(
		nil,
		`{"host":%q,"pid":4711,"version":"v0.1.0","lang":"go","queues":{%q:10}}`,
		worker[:5],
		queue,
	)
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	_, err := w.store.Extend(w.Context(), onceq.ExtendRequest{Worker: worker, Lease: 10 * time.Minute, About: about})
	must(err)
	got, err := w.store.Fetch(w.Context(), onceq.FetchRequest{Worker: worker, No: no,
		Queues: []onceq.QueueSlots{{Queue: queue, Slots: 20}}})
	must(err)
	var runs []onceq.Run
	for _, j := range got.Jobs {
		f := end(j)
		if f == nil {
			runs = append(runs, onceq.Run{ID: j.ID, Run: j.Run})
			continue
		}
		f.ID, f.Run, f.Worker = j.ID, j.Run, worker
		_, err := w.store.Finish(w.Context(), onceq.FinishRequest{Runs: []onceq.Finish{*f}})
		must(err)
	}
	_, err = w.store.Extend(w.Context(), onceq.ExtendRequest{Worker: worker, Lease: 10 * time.Minute, Runs: runs,
		FetchesDone: no})
	must(err)
}

// fill makes jobs in every state, keys that are held and remembered, duplicates
// and an hour of counts. It returns jobs by name.
func (w *pageWorld) fill() map[string]*onceq.JobRow {
	w.Helper()
	jobs := map[string]*onceq.JobRow{}
	made := func(name string, r onceq.Receipt) { jobs[name] = r.Job }
	unique := onceq.Unique{Fields: []string{"to"}}
	w.at(58 * time.Minute)
	made("completed", w.enqueue("mail", `{"to":"ann@example.com","subject":"Welcome"}`,
		onceq.Unique{Fields: []string{"to"}, Window: 2 * time.Hour}, onceq.Tags("signup", "eu")))
	w.run("web-1-4711-k7m2", "default", 1, func(*onceq.JobRow) *onceq.Finish {
		w.at(57*time.Minute + 58*time.Second)
		return &onceq.Finish{State: onceq.Completed, Result: []byte(`{"message_id":"1f00"}`)}
	})
	w.at(41 * time.Minute)
	made("discarded", w.enqueue("report", `{"month":"2026-10","format":"pdf"}`, onceq.MaxAttempts(1),
		onceq.Unique{Until: onceq.UntilSucceeded}, onceq.Retention(72*time.Hour)))
	w.run("web-1-4711-k7m2", "default", 2, func(*onceq.JobRow) *onceq.Finish {
		w.at(40 * time.Minute)
		return &onceq.Finish{State: onceq.Discarded, Error: "template report.tmpl: line 14: no value for \"total\"",
			Stack: "goroutine 71 [running]:\nmain.render(0xc000118000)\n\t/srv/app/render.go:14 +0x1f"}
	})
	w.at(12 * time.Minute)
	made("retryable", w.enqueue("webhook", `{"id":"evt_1034","url":"https://example.com/hooks"}`, onceq.Unique{}))
	w.run("web-1-4711-k7m2", "default", 3, func(*onceq.JobRow) *onceq.Finish {
		w.at(11 * time.Minute)
		return &onceq.Finish{State: onceq.Retryable, Delay: 15 * time.Minute,
			Error: "POST https://example.com/hooks: 503 Service Unavailable"}
	})
	w.at(8 * time.Minute)
	index := []onceq.Option{onceq.Queue("index"), onceq.Unique{Fields: []string{"repo"}},
		onceq.OnConflict(onceq.Coalesce)}
	made("running", w.enqueue("reindex", `{"repo":"onceq/onceq","branch":"main"}`, index...))
	w.at(7*time.Minute + 55*time.Second)
	w.run("idx-3-812-p0q9", "index", 1, func(*onceq.JobRow) *onceq.Finish { return nil })
	w.at(4 * time.Minute)
	made("behind", w.enqueue("reindex", `{"repo":"onceq/onceq","branch":"dev"}`, index...))
	made(
		"scheduled",
		w.enqueue("mail", `{"to":"bob@example.com","subject":"Your week"}`, unique, onceq.Delay(time.Hour)),
	)
	w.at(3 * time.Minute)
	made("available", w.enqueue("invoice", `{"order":4711}`, onceq.Queue("billing"), onceq.Unique{}))
	for i := range 3 {
		w.enqueue("invoice", fmt.Sprintf(`{"order":%d}`, 4712+i), onceq.Queue("billing"), onceq.Unique{})
	}
	cancelled := w.enqueue("mail", `{"to":"eve@example.com","subject":"Hi"}`)
	if _, err := w.client.Cancel(w.Context(), cancelled.Job.ID); err != nil {
		w.Fatal(err)
	}
	made("cancelled", cancelled)
	if err := w.client.Pause(w.Context(), "billing"); err != nil {
		w.Fatal(err)
	}
	w.notes(jobs)
	w.at(0)
	w.schedules()
	return jobs
}

// notes notes an hour of counts, as clients and workers would have.
func (w *pageWorld) notes(jobs map[string]*onceq.JobRow) {
	w.Helper()
	for m := 59; m >= 0; m-- {
		w.at(time.Duration(m) * time.Minute)
		n := int64(20 + (m*7)%13*3)
		n2 := int64(m * 5 % 9)
		notes := onceq.Notes{Nonce: [16]byte{byte(m), 1}, Tallies: []onceq.Tally{
			{Queue: "default", Kind: "mail", Terms: "fields=/to until=finished window=2h0m0s on_conflict=skip",
				Count: onceq.Count{
					Enqueued: [6]int64{n, n * 3},
					Ended:    [6]int64{n, n2 / 4},
					RunMS:    n * 1200,
					WaitMS:   n * 40,
				}},
			{Queue: "index", Kind: "reindex", Terms: "fields=/repo until=finished on_conflict=coalesce",
				Count: onceq.Count{
					Enqueued: [6]int64{n2, n2 * 4, 0, 0, n2, 0},
					Ended:    [6]int64{n2},
					RunMS:    n2 * 45_000,
				}},
			{Queue: "default", Kind: "report", Terms: "by=kind,queue,args until=succeeded on_conflict=reject",
				Count: onceq.Count{Enqueued: [6]int64{0, 0, n2 / 3}}},
		}}
		if m%4 == 1 {
			for i, name := range []string{"running", "completed", "discarded"} {
				if j := jobs[name]; m < 8-i || name != "running" && m < 40 {
					c := onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.ID, State: j.State,
						Since: j.EnqueuedAt, ArgsDiffer: i == 1, HolderKind: j.Kind}
					outcome := []onceq.Outcome{onceq.Skipped, onceq.Skipped, onceq.Rejected}[i]
					notes.Seen = append(
						notes.Seen,
						onceq.Sighting{Ago: time.Duration(7*i+3) * time.Second, Queue: j.Queue,
							Kind: j.Kind, From: fmt.Sprintf("api-%d/%d", i+1, 300+i), Outcome: outcome, Conflict: c},
					)
					notes.Hot = append(notes.Hot, onceq.HotKey{Key: *j.Key, Kind: j.Kind, Text: j.KeyText, Holder: j.ID,
						Count: int64(30 - 9*i)})
				}
			}
		}
		if err := w.store.Note(w.Context(), notes); err != nil {
			w.Fatal(err)
		}
	}
}

// widths are those at which pages are looked at.
var widths = []int64{320, 360, 768, 1280}

// look looks at a page at each width, light and dark.
func (b *tab) look(name, path string) {
	b.Helper()
	b.size(1280, "light")
	b.open(path)
	b.lookAgain(name)
}

// lookAgain looks at the page that is open. What is not a matter of colours is
// the same in the dark.
func (b *tab) lookAgain(name string) {
	b.Helper()
	for _, width := range widths {
		where := fmt.Sprintf("%s-%d-light", name, width)
		b.size(width, "light")
		b.fits(where)
		if width != 360 && width != 1280 {
			continue
		}
		b.accessible(where)
		b.shot(where)
		where = fmt.Sprintf("%s-%d-dark", name, width)
		b.size(width, "dark")
		b.readable(where)
		b.shot(where)
	}
}

// pagesOf are the pages of a world, by name. Those of a job and a key are there
// where there are jobs.
func pagesOf(jobs map[string]*onceq.JobRow) map[string]string {
	all := map[string]string{"overview": "", "jobs": "jobs", "jobs-none": "jobs?queue=nobody", "keys": "keys",
		"keys-none": "keys?text=nobody", "key-free": "keys/" + strings.Repeat("0", 64), "conflicts": "conflicts",
		"explain": "explain", "queues": "queues", "workers": "workers", "policies": "policies", "periodic": "periodic",
		"system": "system"}
	for name, j := range jobs {
		all["job-"+name] = "jobs/" + j.ID
		if j.Key != nil && name != "available" && name != "scheduled" {
			all["key-"+name] = "keys/" + j.Key.String()
		}
	}
	return all
}

// TestAxeFindsNothingOnAnyPageInLightAndDark looks at each page with nothing in
// its store, with much, and while the store fails.
func TestAxeFindsNothingOnAnyPageInLightAndDark(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		w := newPageWorld(t)
		b := newTab(t, w.url)
		for name, path := range pagesOf(nil) {
			b.look("empty-"+name, path)
		}
		b.look("empty-guides", "help")
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		w := newPageWorld(t)
		jobs := w.fill()
		b := newTab(t, w.url)
		for name, path := range pagesOf(jobs) {
			b.look("full-"+name, path)
		}
	})
	t.Run("failing", func(t *testing.T) {
		t.Parallel()
		w := newPageWorld(t)
		jobs := w.fill()
		w.broken.Store(true)
		b := newTab(t, w.url)
		b.allow("500 (Internal Server Error)")
		b.look("failing-jobs", "jobs")
		for name, path := range pagesOf(map[string]*onceq.JobRow{"running": jobs["running"]}) {
			if name == "explain" { // it asks the store for nothing
				continue
			}
			b.open(path)
			if text := b.eval("document.body.innerText"); !contains(text, "Internal error", "Request ", "Overview",
				"Load it again") {
				t.Errorf("%s does not say the way out: %s", name, text)
			}
		}
	})
}

// fillIn puts a value into a field of the page.
func (b *tab) fillIn(field, value string) {
	b.Helper()
	b.eval(fmt.Sprintf("document.getElementById(%q).value = %q", field, value))
}

func TestExplainSaysWhyTwoAreTheSame(t *testing.T) {
	w := newPageWorld(t)
	w.fill()
	b := newTab(t, w.url)
	b.open("explain")
	b.fillIn("kind", "mail")
	b.fillIn("args", `{"to":"ann@example.com","subject":"Welcome"}`)
	b.fillIn("other", `{"to":"ann@example.com","subject":"Welcome again"}`)
	b.fillIn("fields", "/to")
	b.eval("document.querySelector('form.card').requestSubmit(); ''")
	b.wait(`document.body.innerText.includes('The two are the same')`)
	text := b.eval("document.body.innerText")
	if !contains(text, "skipped", "Nothing would be written", "/subject", `"Welcome again"`, "onceq explain 'mail'") {
		t.Error(text)
	}
	b.lookAgain("full-explained")
	b.allow("422 (Unprocessable")
	b.fillIn("args", `{`)
	b.eval("document.querySelector('form.card').requestSubmit(); ''")
	b.wait(`document.body.innerText.includes('must be JSON')`)
	if b.eval("document.getElementById('args').value") != "{" {
		t.Error("what was typed is lost")
	}
}

func TestAPageIsUsedWithAKeyboardAndADialogAsks(t *testing.T) {
	w := newPageWorld(t)
	jobs := w.fill()
	b := newTab(t, w.url)
	b.open("")
	b.do("find", chromedp.KeyEvent("/"))
	if at := b.eval("document.activeElement.id"); at != "find" {
		t.Fatalf("/ leads to %q", at)
	}
	b.fillIn("find", jobs["available"].ID)
	b.do("type", chromedp.KeyEvent("\r"))
	b.wait(`document.title.startsWith('Job ')`)
	state := func() onceq.State {
		j, err := w.client.Job(t.Context(), jobs["available"].ID)
		if err != nil {
			t.Fatal(err)
		}
		return j.State
	}
	cancel := "document.querySelector('form[action$=\"/cancel\"] button').focus(); ''"
	b.eval(cancel)
	b.do("cancel", chromedp.KeyEvent("\r"))
	b.wait(`!!document.querySelector('dialog[open] [data-question]')`)
	b.accessible("dialog")
	b.shot("full-dialog-1280-light")
	b.do("keep", chromedp.KeyEvent("\r")) // the focus is on "keep it as it is"
	b.wait(`!document.querySelector('dialog[open]')`)
	if s := state(); s != onceq.Available {
		t.Fatalf("the job is %s although it was to be kept", s)
	}
	b.wait(`Date.now() - kept > 400`) // the key that closed it may come twice
	b.eval(cancel)
	b.do("cancel", chromedp.KeyEvent("\r"))
	b.wait(`!!document.querySelector('dialog[open] [data-question]')`)
	b.eval("document.querySelector('dialog form button').focus(); ''")
	b.do("yes", chromedp.KeyEvent("\r"))
	b.wait(`document.body.innerText.includes('The job is cancelled')`)
	if s := state(); s != onceq.Cancelled {
		t.Fatalf("the job is %s", s)
	}
}

func TestAPageShowsWhatChangesElsewhere(t *testing.T) {
	w := newPageWorld(t)
	b := newTab(t, w.url)
	b.open("jobs")
	b.wait(`document.body.innerText.includes('There are no jobs')`)
	w.enqueue("mail", `{"to":1}`, onceq.ID("from-elsewhere"))
	b.wait(`document.body.innerText.includes('from-elsewhere')`)
	w.broken.Store(true)
	b.allow("500 (Internal")
	time.Sleep(4 * time.Second)
	w.broken.Store(false)
	w.enqueue("mail", `{"to":2}`, onceq.ID("after-a-fault"))
	b.wait(`document.body.innerText.includes('after-a-fault')`)
}

func TestAPageWorksWithoutScripts(t *testing.T) {
	w := newPageWorld(t)
	jobs := w.fill()
	b := newTab(t, w.url)
	b.withoutScripts()
	b.open("jobs/" + jobs["scheduled"].ID)
	b.do(
		"cancel",
		chromedp.Click(`form[action$="/cancel"] button`),
		chromedp.WaitVisible(`[data-question] form button`),
		chromedp.Click(`[data-question] form button`),
		chromedp.WaitVisible(`.notice.good`),
	)
	if j, err := w.client.Job(t.Context(), jobs["scheduled"].ID); err != nil || j.State != onceq.Cancelled {
		t.Errorf("%+v, %v", j, err)
	}
}

func contains(text string, all ...string) bool {
	for _, s := range all {
		if !strings.Contains(text, s) {
			return false
		}
	}
	return true
}

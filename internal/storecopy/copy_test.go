package storecopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

func TestMain(m *testing.M) { pgtest.Main(m).Run() }

// urls names an empty store of each kind.
var urls = map[string]func(t *testing.T) string{
	"sqlite": func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/jobs.db" },
	"postgres": func(t *testing.T) string {
		return fmt.Sprintf("%s&namespace=copy%d", pgtest.URL(t), rand.Uint32())
	},
	"redis": func(t *testing.T) string {
		return fmt.Sprintf("%s?namespace=copy%d", redistest.URL(t), rand.Uint32())
	},
	"cluster": func(t *testing.T) string {
		return fmt.Sprintf("%s?namespace=copy%d", redistest.ClusterURL(t), rand.Uint32())
	},
}

func open(t *testing.T, kind string) onceq.Store {
	t.Helper()
	url := urls[kind](t)
	if !strings.Contains(url, "?") {
		url = strings.Replace(url, "&", "?", 1)
	}
	store, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// From each kind of store to each, all that is kept means the same after a copy,
// and a second copy adds nothing.
func TestACopyMeansTheSameInEveryStore(t *testing.T) {
	for from := range urls {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			source := open(t, from)
			waiting, finished, keys := fill(t, source)
			for to := range urls {
				target := open(t, to)
				want := Report{Waiting: waiting, Finished: finished, Keys: keys, Paused: 2}
				if r, err := Copy(t.Context(), source, target, nil); err != nil || !reflect.DeepEqual(r, want) {
					t.Fatalf("to %s: %+v %v, want %+v", to, r, err, want)
				}
				same(t, source, target)
				want = Report{WaitingThere: waiting, FinishedThere: finished, Keys: keys, Paused: 2}
				if r, err := Copy(t.Context(), source, target, nil); err != nil || !reflect.DeepEqual(r, want) {
					t.Fatalf("to %s again: %+v %v, want %+v", to, r, err, want)
				}
				same(t, source, target)
			}
		})
	}
}

// same compares two stores: every job, every key, every pause, and what doctor
// says of both.
func same(t *testing.T, from, to onceq.Store) {
	t.Helper()
	a, b := contents(t, from), contents(t, to)
	for name, text := range a {
		if b[name] != text {
			t.Errorf("%s\n is %s\nwas %s", name, b[name], text)
		}
		delete(b, name)
	}
	for name, text := range b {
		t.Errorf("%s\n is %s\nand was not there", name, text)
	}
}

// stem is what a copy keeps of every ID: a Redis store with partitions gives an
// ID that a client made another end.
func stem(id string) string {
	if made(id) {
		return id[:23]
	}
	return id
}

// contents are the jobs, keys and pauses of a store in words that must not change.
func contents(t *testing.T, store onceq.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// A clock that counts from now differs by what the test has taken so far.
	about := func(at time.Time) string {
		if at.IsZero() || at.Before(time.Now()) {
			return "-"
		}
		return time.Until(at).Round(10 * time.Minute).String()
	}
	for j, err := range client.Jobs(t.Context(), onceq.JobFilter{All: true, Reserved: true, Args: true}) {
		if err != nil {
			t.Fatal(err)
		}
		full, err := client.Job(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		state, left, failed := j.State, max(j.MaxAttempts-j.Attempt, 1), ""
		if state.Finished() {
			left = 0
			if n := len(full.Errors); n > 0 {
				failed = full.Errors[n-1].Error
			}
		} else if state != onceq.Available {
			state = onceq.Scheduled // also one that was retryable
		}
		meta := fmt.Sprint(full.Meta)
		if j.Kind == periodic && full.Meta["after"] == nil {
			meta = fmt.Sprint(map[string]any{"after": j.EnqueuedAt.Format(time.RFC3339Nano)})
		}
		all["job "+stem(j.ID)] = fmt.Sprintln(
			j.Kind,
			j.Queue,
			string(full.Args),
			j.Encoding,
			meta,
			j.Tags,
			string(j.Extra),
			state,
			left,
			j.Priority,
			j.Timeout,
			about(j.KeepUntil()),
			failed,
			string(full.Result),
		)
		if j.State.Waiting() {
			all["job "+stem(j.ID)] += about(j.RunAt) + j.Retention.String() + j.RetentionFailed.String()
		}
	}
	for k, err := range client.Keys(t.Context(), onceq.KeyFilter{Reserved: true}) {
		if err != nil {
			t.Fatal(err)
		}
		all["key "+k.Key.String()] = fmt.Sprintln(k.Text, k.Kind, k.Queue, stem(k.Holder), k.State.Finished(), k.Gone,
			about(k.FreesAt), k.FreesWhen, k.Digest)
	}
	queues, err := client.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		if q.Paused {
			all["paused "+q.Name] = about(q.PausedUntil)
		}
	}
	report, err := client.Doctor(t.Context(), nil)
	if err != nil || !report.OK() {
		t.Errorf("doctor: %v %v", report.Violations, err)
	}
	return all
}

// cutting is a store whose connection breaks before its n-th step that writes, or
// right after it.
type cutting struct {
	onceq.Store
	left  int
	after bool
}

var errCut = errors.New("cut")

func (c *cutting) step(do func() error) error {
	c.left--
	switch {
	case c.left > 0:
		return do()
	case c.left == 0 && c.after:
		_ = do()
	}
	return errCut
}

func (c *cutting) Enqueue(ctx context.Context, r onceq.EnqueueRequest) (a []onceq.EnqueueResult, err error) {
	err = c.step(func() (err error) { a, err = c.Store.Enqueue(ctx, r); return err })
	return a, err
}

func (c *cutting) Change(ctx context.Context, r onceq.Change) (a []onceq.ChangeResult, err error) {
	err = c.step(func() (err error) { a, err = c.Store.Change(ctx, r); return err })
	return a, err
}

func (c *cutting) Finish(ctx context.Context, r onceq.FinishRequest) (a []onceq.FinishResult, err error) {
	err = c.step(func() (err error) { a, err = c.Store.Finish(ctx, r); return err })
	return a, err
}

func (c *cutting) Extend(ctx context.Context, r onceq.ExtendRequest) (a onceq.Extended, err error) {
	err = c.step(func() (err error) { a, err = c.Store.Extend(ctx, r); return err })
	return a, err
}

// Wherever a copy is cut, the next one brings what is missing, and nothing twice.
func TestACopyThatWasCutGoesOn(t *testing.T) {
	source := newStore(t)
	fill(t, source)
	cuts := 0
	for n := 1; ; n++ {
		whole := true
		for _, after := range []bool{false, true} {
			target := newStore(t)
			if _, err := Copy(t.Context(), source, &cutting{target, n, after}, nil); err != nil {
				if !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				whole = false
				cuts++
			}
			if _, err := Copy(t.Context(), source, target, nil); err != nil {
				t.Fatalf("after a cut at step %d: %v", n, err)
			}
			same(t, source, target)
		}
		if whole {
			break
		}
	}
	if cuts < 20 {
		t.Errorf("only %d cuts", cuts)
	}
}

// What cannot be carried is refused, and the refusal says what to do.
func TestACopyRefusesWhatItCannotCarry(t *testing.T) {
	ctx := t.Context()
	refused := func(from, to onceq.Store, want ...string) {
		t.Helper()
		_, err := Copy(ctx, from, to, nil)
		if err == nil {
			t.Fatalf("no error, want %q", want)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v, want %q", err, w)
			}
		}
	}
	source, target := newStore(t), newStore(t)
	fill(t, source)
	if _, err := target.Extend(ctx, onceq.ExtendRequest{Worker: "w1", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	refused(source, target, "worker works in TO: w1", "Stop it first")
	refused(target, source, "worker works in FROM: w1")

	working := newStore(t)
	fill(t, working)
	if _, err := working.Extend(ctx, onceq.ExtendRequest{Worker: "w2", Lease: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	started, err := working.Fetch(ctx, onceq.FetchRequest{Worker: "w2", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
	if err != nil || len(started.Jobs) != 1 {
		t.Fatal(started, err)
	}
	time.Sleep(5 * time.Millisecond)
	refused(working, newStore(t), started.Jobs[0].ID, "runs in FROM", "onceq work")
}

// A job that meets another in TO is named, with the one that is there, and the
// rest is copied.
func TestACopyNamesWhatItMeets(t *testing.T) {
	source, target := newStore(t), newStore(t)
	waiting, finished, keys := fill(t, source)
	client, err := onceq.NewClient(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Enqueue(t.Context(), onceq.JSON("other", []byte(`1`)), onceq.ID("done")); err != nil {
		t.Fatal(err)
	}
	rival, err := client.Enqueue(t.Context(), onceq.JSON("waits", []byte(`{"n":0}`)), onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Copy(t.Context(), source, target, nil)
	if err != nil || r.Waiting != waiting-1 || r.Finished != finished-1 || r.Keys != keys-1 || len(r.Refused) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	text := strings.Join(r.Refused, "\n")
	for _, want := range []string{"job done (kind works) was not copied: TO has a job of kind other with this ID",
		`(kind waits) was not copied: in TO its key ` + rival.Job.Key.String() + ` ` +
			`(kind=waits queue=default args={"n":0}) is held by job ` + rival.Job.ID} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nwant %s", text, want)
		}
	}
	if bytes.Count([]byte(text), []byte("\n")) != 1 {
		t.Error(text)
	}
}

// A Redis store with partitions has no place for a job that has both a key and an
// ID of the caller's own.
func TestACopyNamesWhatHasNoPlace(t *testing.T) {
	source, target := newStore(t), open(t, "cluster")
	client, err := onceq.NewClient(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const jobs = 50
	for n := range jobs {
		if _, err := client.Enqueue(t.Context(), onceq.JSON("waits", fmt.Append(nil, n)), onceq.Unique{},
			onceq.ID(fmt.Sprintf("own:%d", n))); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r, err := Copy(t.Context(), source, target, nil)
		if err != nil || len(r.Refused) < jobs/2 || len(r.Refused)+r.Keys != jobs ||
			r.Waiting+r.WaitingThere != r.Keys {
			t.Fatalf("%+v %v", r, err)
		}
		if !strings.Contains(r.Refused[0], "Partitions: 1") {
			t.Error(r.Refused[0])
		}
	}
}

package test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// call is one enqueue of a test, known by its number.
type call struct {
	N   int `json:"n"`
	Key int `json:"key"`
}

func (call) Kind() string { return "call" }

// said is what a call was told.
type said struct {
	call
	batch   int // the calls of one batch have the same number
	receipt onceq.Receipt
	err     error // of the call or of the batch
	known   bool  // there is an answer for this call
}

// TestWhateverAnswersAreLostAnEnqueueSaysOnlyWhatIsTrue: a proxy between
// the clients and a real server cuts requests and answers at any byte, and
// refuses connections at times. Afterwards the store is asked what really
// happened.
func TestWhateverAnswersAreLostAnEnqueueSaysOnlyWhatIsTrue(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { return pgtest.Start(t).URL() },
		"redis":    func(t *testing.T) string { return redistest.Start(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lose(t, start(t))
		})
	}
}

const rivals = 24 // who enqueue at once

func lose(t *testing.T, direct string) {
	client := open(t, direct)
	p, through := newProxy(t, direct)
	clients := []*onceq.Client{open(t, through), open(t, through)}
	stop := make(chan struct{})
	var haunted, all sync.WaitGroup
	haunted.Go(func() { p.haunt(25, stop) })
	told := make([][]said, rivals)
	end := time.Now().Add(duration("ONCEQ_SOAK", 4*time.Second))
	var prize atomic.Int64 // the key that they race for: about ten calls want each
	for i := range rivals {
		all.Go(func() {
			for n := i; time.Now().Before(end); n += rivals {
				told[i] = append(told[i], enqueueOnce(t.Context(), clients[i%2], 10*n, int(prize.Add(1)/10))...)
			}
		})
	}
	all.Wait()
	close(stop)
	haunted.Wait()
	t.Logf("lost: %v", p.lost)

	var calls []said
	for _, some := range told {
		calls = append(calls, some...)
	}
	made := map[int]*onceq.JobRow{} // by the number of the call whose args it has
	holders := map[int]int{}
	for _, j := range jobs(t, client) {
		var c call
		if err := json.Unmarshal(j.Args, &c); err != nil {
			t.Fatal(err)
		}
		if made[c.N] != nil {
			t.Errorf("call %d made two jobs: %s and %s", c.N, made[c.N].ID, j.ID)
		}
		made[c.N] = j
		if holders[c.Key]++; holders[c.Key] > 1 {
			t.Errorf("key %d has %d jobs", c.Key, holders[c.Key])
		}
	}
	count := map[string]int{}
	for _, s := range calls {
		count[judge(t, s, made)]++
	}
	t.Logf("%v; %d jobs", count, len(made))
	if count["uncertain, made"]+count["uncertain, not made"] == 0 {
		t.Error("no call stayed uncertain: the test proves nothing")
	}
	resendAll(t, client, calls, made)
	requireHealthy(t, client)
}

// enqueueOnce sends one job or a batch of five, for keys of its own or for
// one that others want too.
func enqueueOnce(ctx context.Context, client *onceq.Client, n, prize int) (told []said) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond+rand.N(600*time.Millisecond))
	defer cancel()
	policy := onceq.OnConflict([]onceq.ConflictPolicy{onceq.Skip, onceq.Reject}[rand.IntN(2)])
	options := []onceq.Option{onceq.Unique{Fields: []string{"key"}}, policy}
	size := 1
	if rand.IntN(4) == 0 {
		size = 5
	}
	var items []onceq.Item
	for i := range size {
		c := call{N: n + i, Key: -1 - n - i}
		if rand.IntN(2) == 0 {
			c.Key = prize + i
		}
		items = append(items, onceq.NewItem(c, options...))
		told = append(told, said{call: c, batch: n})
	}
	if size == 1 {
		told[0].receipt, told[0].err = client.Enqueue(ctx, items[0].Args, options...)
		told[0].known = told[0].receipt.Job != nil
		return told
	}
	receipts, err := client.EnqueueMany(ctx, items)
	for i := range told {
		told[i].err = err
		if i < len(receipts) && receipts[i].Job != nil {
			told[i].receipt, told[i].known = receipts[i], true
		}
	}
	return told
}

// judge holds what a call was told against what is there.
func judge(t *testing.T, s said, made map[int]*onceq.JobRow) string {
	t.Helper()
	job := made[s.N]
	switch {
	case s.known && s.receipt.Outcome == onceq.Inserted:
		if job == nil || job.ID != s.receipt.Job.ID {
			t.Errorf("call %d was told that it made %s, and made %v", s.N, s.receipt.Job.ID, job)
		}
		return "inserted"
	case s.known:
		if job != nil {
			t.Errorf("call %d made %s, and was told %s by %s", s.N, job.ID, s.receipt.Outcome, s.receipt.Job.ID)
		}
		return "duplicate"
	case errors.Is(s.err, onceq.ErrUncertain) && job != nil:
		return "uncertain, made"
	case errors.Is(s.err, onceq.ErrUncertain):
		return "uncertain, not made"
	case s.err == nil:
		t.Errorf("call %d was told nothing", s.N)
	case job != nil:
		t.Errorf("call %d made %s, and was told for sure that it failed: %v", s.N, job.ID, s.err)
	}
	return "definite"
}

// resendAll finds out about what stayed uncertain: who made the job of a
// key is told so, and nobody else. A long soak leaves tens of thousands of such
// calls, and they are sent again by as many rivals as before.
func resendAll(t *testing.T, client *onceq.Client, calls []said, made map[int]*onceq.JobRow) {
	t.Helper()
	batches := map[int][]said{}
	for _, s := range calls {
		if errors.Is(s.err, onceq.ErrUncertain) {
			batches[s.batch] = append(batches[s.batch], s)
		}
	}
	var mu sync.Mutex // for made
	var all sync.WaitGroup
	work := make(chan []said)
	for range rivals {
		all.Go(func() {
			for batch := range work {
				receipts, err := resend(t.Context(), client, batch)
				if err != nil {
					t.Errorf("resend of call %d: %v", batch[0].N, err)
					continue
				}
				mu.Lock()
				for i, s := range batch {
					r := receipts[i]
					switch job := made[s.N]; {
					case job != nil && (r.Outcome != onceq.Inserted || r.Job.ID != job.ID):
						t.Errorf("call %d made %s; sent again it was told %s by %s", s.N, job.ID, r.Outcome, r.Job.ID)
					case job == nil && r.Outcome == onceq.Inserted:
						made[s.N] = r.Job // now it has
					}
				}
				mu.Unlock()
			}
		})
	}
	for _, batch := range batches {
		work <- batch
	}
	close(work)
	all.Wait()
	makers, keys := map[string]bool{}, map[onceq.Key]bool{}
	for _, j := range made {
		if keys[*j.Key] {
			t.Errorf("two jobs of key %s", j.KeyText)
		}
		makers[j.ID], keys[*j.Key] = true, true
	}
	for id := range jobs(t, client) {
		if !makers[id] {
			t.Errorf("job %s is nobody's", id)
		}
	}
}

// resend sends the calls of a batch again.
func resend(ctx context.Context, client *onceq.Client, batch []said) ([]onceq.Receipt, error) {
	var items []onceq.Item
	for _, s := range batch {
		items = append(items, onceq.NewItem(s.call, onceq.Unique{Fields: []string{"key"}}, onceq.Resend(s.err)))
	}
	if len(items) == 1 {
		r, err := client.Enqueue(ctx, items[0].Args, items[0].Options...)
		return []onceq.Receipt{r}, err
	}
	return client.EnqueueMany(ctx, items)
}

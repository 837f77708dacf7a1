package onceq

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// WorkerInfo is a worker, as its heartbeats tell. All instants are by the
// store's clock.
type WorkerInfo struct {
	Name       string    // as JobRow.Worker has it
	Since      time.Time // its first heartbeat
	BeatAt     time.Time // its last heartbeat
	LeaseUntil time.Time // the end of its lease, unless it is renewed
	Late       bool      // its lease is over: it may be lost
	Running    int       // how many jobs run for it
	// Slots are, for each queue that is limited in the whole fleet
	// ([QueueConfig].Global), how many slots the worker has. Only
	// [Client.Workers] tells it.
	Slots map[string]int
	About []byte // what it says of itself, as JSON (see [WorkerAbout]); nil = nothing
}

// WorkerAbout is what a worker of this package says of itself. Workers in other
// languages may say other things.
type WorkerAbout struct {
	Host    string         `json:"host,omitempty"`    // the name of its machine; "" = unknown
	PID     int            `json:"pid,omitempty"`     // of its process there
	Version string         `json:"version,omitempty"` // of onceq
	Lang    string         `json:"lang,omitempty"`    // the language that it is written in
	Queues  map[string]int `json:"queues,omitempty"`  // which it serves, and with how many slots
	Global  map[string]int `json:"global,omitempty"`  // of these, how many jobs may run in the whole fleet
	Kinds   []string       `json:"kinds,omitempty"`   // which it takes; none = any, or more than there was room for
}

// Details reads About. What it does not say is zero.
func (w *WorkerInfo) Details() (about WorkerAbout) {
	if json.Unmarshal(w.About, &about) != nil {
		return WorkerAbout{}
	}
	return about
}

// Serves reports whether the worker takes jobs of this queue and kind, as far
// as it says: one that says nothing may take any.
func (a *WorkerAbout) Serves(queue, kind string) bool {
	_, served := a.Queues[queue]
	return (a.Queues == nil || served) && (a.Kinds == nil || slices.Contains(a.Kinds, kind))
}

// Workers lists the workers that are known, those first whose lease is over
// (they may be lost), then by name.
func (c *Client) Workers(ctx context.Context) ([]WorkerInfo, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	all, err := c.store.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("onceq: list workers: %w", err)
	}
	if err := c.tellSlots(ctx, all); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b WorkerInfo) int {
		if a.Late != b.Late {
			if a.Late {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all, nil
}

// tellSlots says which slots of the whole fleet each worker has. To a store
// these are jobs that run.
func (c *Client) tellSlots(ctx context.Context, all []WorkerInfo) error {
	limited, at := map[string]bool{}, map[string]*WorkerInfo{}
	for i := range all {
		at[all[i].Name] = &all[i]
		for queue := range all[i].Details().Global {
			limited[queue] = true
		}
	}
	for queue := range limited {
		r := ListRequest{Queue: slotsPrefix + queue, States: []State{Running}, Limit: page}
		for more := true; more; more = r.Cursor != "" {
			p, err := c.store.List(ctx, r)
			if err != nil {
				return fmt.Errorf("onceq: list the slots of queue %s: %w", queue, err)
			}
			for _, j := range p.Jobs {
				if w := at[j.Worker]; w != nil {
					if w.Slots == nil {
						w.Slots = map[string]int{}
					}
					w.Slots[queue]++
					w.Running = max(w.Running-1, 0)
				}
			}
			r.Cursor = p.Next
		}
	}
	return nil
}

// version is that of this module in the program that runs.
var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == "github.com/onceq/onceq" {
			return m.Version
		}
	}
	return ""
})

// about is what the worker says of itself, in at most MaxAbout bytes.
func (s *session) about() []byte {
	host, _ := os.Hostname()
	a := WorkerAbout{Host: bound(host, MaxNameSize), PID: os.Getpid(), Version: bound(version(), MaxNameSize),
		Lang: "go", Queues: map[string]int{}, Kinds: slices.DeleteFunc(slices.Clone(s.kinds), ReservedName)}
	for name, q := range s.w.config.Queues {
		a.Queues[name] = q.Concurrency
		if q.Global > 0 {
			if a.Global == nil {
				a.Global = map[string]int{}
			}
			a.Global[name] = q.Global
		}
	}
	return a.encode()
}

// encode makes at most MaxAbout bytes of it.
func (a WorkerAbout) encode() []byte {
	for {
		b, err := json.Marshal(a)
		switch {
		case err != nil:
			return nil
		case len(b) <= MaxAbout:
			return b
		case a.Kinds != nil:
			a.Kinds = nil // where there are too many, nothing is said of them
		case a.Queues != nil:
			a.Queues, a.Global = nil, nil
		default:
			return nil
		}
	}
}

// NotRunning says why a waiting job does not run: for people, a sentence for
// each reason, none where a worker may start it at any moment. now is the
// store's clock.
func (c *Client) NotRunning(ctx context.Context, j *JobRow) (reasons []string, err error) {
	if !j.State.Waiting() {
		return nil, nil
	}
	all, err := c.QueuesUpTo(ctx, 1)
	if err != nil {
		return nil, err
	}
	if j.ClaimState() != "" {
		return claimWaits(j, all.Now), nil
	}
	workers, err := c.Workers(ctx)
	if err != nil {
		return nil, err
	}
	if j.Behind != "" {
		reasons = append(reasons, fmt.Sprintf("it stands behind job %s, and starts when that run has ended", j.Behind))
	}
	if j.RunAt.After(all.Now) {
		what := "due"
		if j.State == Retryable {
			what = "to be tried again"
		}
		reasons = append(reasons, fmt.Sprintf("it is %s at %s, in %s", what, j.RunAt.UTC().Format(time.RFC3339),
			terse(j.RunAt.Sub(all.Now))))
	}
	if i := slices.IndexFunc(all.Queues, func(q QueueInfo) bool { return q.Name == j.Queue }); i >= 0 &&
		all.Queues[i].Paused {
		until := ""
		if at := all.Queues[i].PausedUntil; !at.IsZero() {
			until = fmt.Sprintf(" until %s, for %s", at.UTC().Format(time.RFC3339), terse(at.Sub(all.Now)))
		}
		reasons = append(reasons, fmt.Sprintf("queue %s is paused%s: onceq queue resume %s", j.Queue, until, j.Queue))
	}
	reasons = append(reasons, unserved(j, workers)...)
	if len(reasons) == 0 {
		reasons = slotless(j, workers)
	}
	return reasons, nil
}

// terse writes 1h and not 1h0m0s.
func terse(d time.Duration) string {
	s := d.Round(time.Second).String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, nothing) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// slotless says that all slots of a limited queue are taken, and by whom.
func slotless(j *JobRow, workers []WorkerInfo) []string {
	n, taken, by := 0, 0, []string(nil)
	for i := range workers {
		w := &workers[i]
		if about := w.Details(); about.Serves(j.Queue, j.Kind) && !w.Late {
			if about.Global[j.Queue] == 0 {
				return nil // to this one the queue has no limit
			}
			n = max(n, about.Global[j.Queue])
		}
		if has := w.Slots[j.Queue]; has > 0 {
			taken += has
			by = append(by, fmt.Sprintf("%s (%d)", w.Name, has))
		}
	}
	if taken < n {
		return nil
	}
	return []string{fmt.Sprintf("queue %s is limited to %d at once in all workers together, and all %d are taken by %s",
		j.Queue, n, taken, strings.Join(by, ", "))}
}

// unserved says that no worker would take a job.
func unserved(j *JobRow, workers []WorkerInfo) []string {
	queue, live := false, 0
	for _, w := range workers {
		if w.Late {
			continue
		}
		live++
		about := w.Details()
		if about.Serves(j.Queue, j.Kind) {
			return nil
		}
		if _, ok := about.Queues[j.Queue]; ok {
			queue = true
		}
	}
	switch {
	case live == 0 && len(workers) > 0:
		return []string{"no worker is alive: the heartbeats of all of them are late"}
	case live == 0:
		return []string{"no worker runs"}
	case queue:
		return []string{fmt.Sprintf("no worker that serves queue %s takes kind %s", j.Queue, j.Kind)}
	}
	return []string{fmt.Sprintf("no worker serves queue %s", j.Queue)}
}

// Package storecopy copies what a store keeps into another one, of any kind. It
// knows only the seam, onceq.Store, and so works from each store to each.
package storecopy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// Report says what was copied. "There" counts what the other store had already,
// from an earlier copy.
type Report struct {
	Waiting, WaitingThere   int // jobs that wait for a run, schedules among them
	Finished, FinishedThere int // finished jobs that are kept, and what holds a key though it is gone
	Keys                    int // keys that are held in both stores, by the same job
	Paused                  int // queues that are paused in both stores
	// Refused are what the other store did not take, one line each: it has
	// another job of that ID, or another job holds the key.
	Refused []string
}

// Copy copies jobs, keys and pauses. It may be repeated: what is there already
// stays as it is there. No worker may work in either store meanwhile.
// progress, which may be nil, gets how many jobs are done.
func Copy(ctx context.Context, from, to onceq.Store, progress func(done int)) (Report, error) {
	c := &copier{from: from, to: to, progress: progress, seed: maphash.MakeSeed(), holders: map[uint64]struct{}{},
		missing: map[string]bool{}, worker: workerPrefix + rand.Text()}
	if progress == nil {
		c.progress = func(int) {}
	}
	err := c.run(ctx)
	return c.report, err
}

// workerPrefix begins the names of the workers that end copies of finished jobs.
const workerPrefix = "onceq-copy/"

// copier is one copy under way.
type copier struct {
	from, to onceq.Store
	progress func(int)
	report   Report
	seed     maphash.Seed
	holders  map[uint64]struct{} // hashes of the IDs that were copied with their keys
	missing  map[string]bool     // the IDs of jobs that were refused, as in FROM
	worker   string              // in to: a name that no other copy has
	started  int64               // the number of the last OpStart
	known    bool                // the worker
}

// run copies in an order that is safe to be cut anywhere. Finished jobs come
// first: they take keys and IDs, and a paused queue would not let them start.
// Pauses come before what waits, so that nothing of a paused queue can run.
func (c *copier) run(ctx context.Context) (err error) {
	if err := c.atRest(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.leave(ctx)) }()
	if err := c.keys(ctx, ended); err != nil {
		return err
	}
	if err := c.jobs(ctx, ended); err != nil {
		return err
	}
	if err := c.pauses(ctx); err != nil {
		return err
	}
	if err := c.keys(ctx, waits); err != nil {
		return err
	}
	if err := c.jobs(ctx, waits); err != nil {
		return err
	}
	return c.compare(ctx)
}

// part is what one pass copies.
type part bool

const (
	ended part = false // finished, or gone
	waits part = true
)

// atRest refuses stores in which something runs: a run that goes on cannot be
// copied, and a worker would run the copy and the original.
func (c *copier) atRest(ctx context.Context) error {
	for _, side := range []struct {
		name  string
		store onceq.Store
	}{{"FROM", c.from}, {"TO", c.to}} {
		workers, err := side.store.Workers(ctx)
		if err != nil {
			return fmt.Errorf("list the workers of %s: %w", side.name, err)
		}
		var names []string
		for _, w := range workers {
			if !w.Late && !strings.HasPrefix(w.Name, workerPrefix) {
				names = append(names, w.Name)
			}
		}
		if len(names) > 0 {
			return fmt.Errorf("a worker works in %s: %s. Stop it first (one that was killed counts until its lease is "+
				"over, 30s by default), for a job would run in both stores", side.name,
				strings.Join(names[:min(len(names), 5)], ", "))
		}
	}
	running, err := c.from.List(ctx, onceq.ListRequest{States: []onceq.State{onceq.Running}, Limit: 5})
	if err != nil {
		return fmt.Errorf("list what runs in FROM: %w", err)
	}
	if len(running.Jobs) > 0 {
		j := running.Jobs[0]
		return fmt.Errorf("job %s (kind %s) runs in FROM, and a run cannot be copied: let it end first. If its worker "+
			"was killed, any worker there ends the run, within a minute or two: onceq work --store FROM --exec COMMAND",
			j.ID, j.Kind)
	}
	return nil
}

// pageSize is how many jobs are read and written at once.
const pageSize = 200

// keys copies the jobs that hold keys, and what is left of holders that are gone.
func (c *copier) keys(ctx context.Context, which part) error {
	for after := ""; ; {
		page, err := c.from.Keys(ctx, onceq.KeysRequest{Cursor: after, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("list the keys of FROM: %w", err)
		}
		now := page.Now.UnixMilli()
		var gone []original
		var held []*onceq.HeldKey
		for _, k := range page.Keys {
			switch {
			case k.Gone && which == ended:
				gone = append(gone, goneOriginal(k, now))
			case !k.Gone && k.State.Finished() == (which == ended):
				held = append(held, k)
			}
		}
		if err := c.write(ctx, which, gone); err != nil {
			return err
		}
		if err := c.holdersOf(ctx, which, held, now); err != nil {
			return err
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// pageBytes is about how many bytes of jobs are in memory at once.
const pageBytes = 4 << 20

// holdersOf copies the holders of some keys. How many it reads at once follows
// from how large they are.
func (c *copier) holdersOf(ctx context.Context, which part, held []*onceq.HeldKey, now int64) error {
	for n := 10; len(held) > 0; {
		some := held[:min(n, len(held))]
		held = held[len(some):]
		ids := make([]string, len(some))
		for i, k := range some {
			ids[i] = k.Holder
		}
		jobs, err := c.from.Get(ctx, ids)
		if err != nil {
			return fmt.Errorf("read jobs of FROM: %w", err)
		}
		var found []original
		bytes := 1
		for i, j := range jobs {
			if j == nil || j.State.Finished() != (which == ended) {
				return fmt.Errorf("job %s of FROM was changed meanwhile: stop what works there, and copy again", ids[i])
			}
			bytes += len(j.Args) + len(j.Result)
			o, err := originalOf(j, some[i], now)
			if err != nil {
				return err
			}
			found = append(found, o)
			c.holders[maphash.String(c.seed, j.ID)] = struct{}{}
		}
		if err := c.write(ctx, which, found); err != nil {
			return err
		}
		n = min(max(pageBytes/max(bytes/len(some), 1), 1), pageSize)
	}
	return nil
}

// jobs copies the jobs that hold no key.
func (c *copier) jobs(ctx context.Context, which part) error {
	request := onceq.ListRequest{Args: true, Limit: pageSize}
	for _, s := range onceq.States() {
		if s.Finished() == (which == ended) && s != onceq.Running {
			request.States = append(request.States, s)
		}
	}
	for more := true; more; more = request.Cursor != "" {
		page, err := c.from.List(ctx, request)
		if err != nil {
			return fmt.Errorf("list the jobs of FROM: %w", err)
		}
		var found []original
		for _, j := range page.Jobs {
			if c.isHolder(j.ID) {
				continue
			}
			o, err := originalOf(j, nil, page.Now.UnixMilli())
			if err != nil {
				return err
			}
			if o.over {
				continue
			}
			found = append(found, o)
		}
		if which == ended {
			if err := c.results(ctx, found); err != nil {
				return err
			}
		}
		if err := c.write(ctx, which, found); err != nil {
			return err
		}
		request.Cursor = page.Next
	}
	return nil
}

// isHolder reports whether a job was copied with its key.
func (c *copier) isHolder(id string) bool {
	_, is := c.holders[maphash.String(c.seed, id)]
	return is
}

// results reads what finished jobs gave: a list does not have it.
func (c *copier) results(ctx context.Context, found []original) error {
	for len(found) > 0 {
		some := found[:min(len(found), 20)]
		found = found[len(some):]
		ids := make([]string, len(some))
		for i, o := range some {
			ids[i] = o.row.ID
		}
		jobs, err := c.from.Get(ctx, ids)
		if err != nil {
			return fmt.Errorf("read jobs of FROM: %w", err)
		}
		for i, j := range jobs {
			if j != nil {
				some[i].result = j.Result
			}
		}
	}
	return nil
}

// pauses copies which queues are paused.
func (c *copier) pauses(ctx context.Context) error {
	list, err := c.from.Queues(ctx, onceq.QueuesRequest{Most: 1})
	if err != nil {
		return fmt.Errorf("list the queues of FROM: %w", err)
	}
	for _, q := range list.Queues {
		if !q.Paused {
			continue
		}
		pause := onceq.Change{Op: onceq.OpPause, Queue: q.Name}
		if !q.PausedUntil.IsZero() {
			pause.Delay = max(q.PausedUntil.Sub(list.Now), time.Millisecond)
		}
		if _, err := c.to.Change(ctx, pause); err != nil {
			return fmt.Errorf("pause queue %s in TO: %w", q.Name, err)
		}
		c.report.Paused++
	}
	return nil
}

package storecopy

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

func nonce() (n [16]byte) {
	_, _ = rand.Read(n[:])
	return n
}

// write brings some jobs into TO.
func (c *copier) write(ctx context.Context, which part, originals []original) error {
	if len(originals) == 0 {
		return nil
	}
	originals = c.place(originals)
	rows := make([]onceq.NewRow, len(originals))
	for i, o := range originals {
		rows[i] = o.row
	}
	answers, err := c.to.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
	if err != nil {
		return fmt.Errorf("write to TO: %w", err)
	}
	var unended []original
	for i, a := range answers {
		o := originals[i]
		there := a.Outcome != onceq.Inserted
		if there && (a.Job.ID != o.row.ID || a.Job.Kind != o.row.Kind) {
			c.meets(o, a)
			continue
		}
		if which == ended && (!there || unfinished(a.Job)) {
			unended = append(unended, o)
		}
		c.count(which, there && !(which == ended && unfinished(a.Job)))
	}
	c.progress(c.report.Waiting + c.report.WaitingThere + c.report.Finished + c.report.FinishedThere)
	return c.end(ctx, unended)
}

func (c *copier) count(which part, there bool) {
	switch {
	case which == waits && there:
		c.report.WaitingThere++
	case which == waits:
		c.report.Waiting++
	case there:
		c.report.FinishedThere++
	default:
		c.report.Finished++
	}
}

// place gives the copies the IDs that they have in TO: the same, but for Redis
// with partitions, where the ID leads to the partition of the key. What has no
// place there is refused.
func (c *copier) place(originals []original) (placed []original) {
	for _, o := range originals {
		o.id = o.row.ID
		if o.row.Claim != nil {
			id := c.twin(o.row.ID, &o.row.Claim.Key)
			if id != o.row.ID && !o.gone && !made(o.row.ID) {
				c.refused(o.row, "it has a key and an ID of your own, and TO is a Redis store with partitions, where "+
					"these two lie in different ones: open it with Partitions: 1")
				continue
			}
			o.row.ID = id
		}
		placed = append(placed, o)
	}
	return placed
}

// twin is the ID in TO of a job that holds a key.
func (c *copier) twin(id string, key *onceq.Key) string {
	if place := c.to.Traits().Place; place != nil {
		return place(id, key)
	}
	return id
}

// made reports whether an ID has the form of those that clients make. No two of
// them have the same beginning, so that a place may change their end.
func made(id string) bool { return len(id) == 26 && strings.Trim(id, onceq.IDAlphabet) == "" }

// meets says of a job what it met in TO.
func (c *copier) meets(o original, a onceq.EnqueueResult) {
	why := fmt.Sprintf("TO has a job of kind %s with this ID", a.Job.Kind)
	if a.Conflict != nil && a.Conflict.By == "key" {
		why = fmt.Sprintf("in TO its key %s (%s) is held by job %s", a.Conflict.Key, a.Conflict.Text, a.Job.ID)
	}
	o.row.ID = o.id
	c.refused(o.row, why)
}

func (c *copier) refused(row onceq.NewRow, why string) {
	c.missing[row.ID] = true
	c.report.Refused = append(
		c.report.Refused,
		fmt.Sprintf("job %s (kind %s) was not copied: %s", row.ID, row.Kind, why),
	)
}

// unfinished reports whether a job in TO is the copy of a finished job that has
// not ended yet, because the copy that made it was cut.
func unfinished(j *onceq.JobRow) bool {
	switch {
	case j.State == onceq.Running:
		return strings.HasPrefix(j.Worker, workerPrefix)
	case j.State == onceq.Scheduled:
		return time.Until(j.RunAt) > unlikely
	}
	return false
}

// lease is far longer than the steps between two heartbeats take. A copy that is
// killed in between leaves runs that a later copy ends at once.
const lease = 5 * time.Minute

// end lets the copies of finished jobs end as the originals did.
func (c *copier) end(ctx context.Context, originals []original) error {
	if len(originals) == 0 {
		return nil
	}
	if _, err := c.to.Extend(ctx, onceq.ExtendRequest{Worker: c.worker, Lease: lease}); err != nil {
		return fmt.Errorf("make the copy known in TO: %w", err)
	}
	c.known = true
	c.started++
	start := onceq.Change{Op: onceq.OpStart, Worker: c.worker, No: c.started}
	for _, o := range originals {
		start.IDs = append(start.IDs, o.row.ID)
	}
	answers, err := c.to.Change(ctx, start)
	if err != nil {
		return fmt.Errorf("start copies of finished jobs in TO: %w", err)
	}
	var finish onceq.FinishRequest
	for i, a := range answers {
		o, job := originals[i], a.Job
		if a.Err != nil {
			if job, err = c.begun(ctx, o.row.ID, a.Err); err != nil {
				return err
			}
			if job == nil {
				continue
			}
		}
		finish.Runs = append(finish.Runs, onceq.Finish{ID: o.row.ID, Run: job.Run, Worker: c.worker,
			Rescue: job.Worker != c.worker, State: o.state, Error: o.failed, Result: o.result})
	}
	done, err := c.to.Finish(ctx, finish)
	if err != nil {
		return fmt.Errorf("end copies of finished jobs in TO: %w", err)
	}
	if i := slices.IndexFunc(done, func(r onceq.FinishResult) bool { return r.Status == onceq.FinishLost }); i >= 0 {
		return fmt.Errorf(
			"job %s of TO was changed meanwhile: stop what works there, and copy again",
			finish.Runs[i].ID,
		)
	}
	return nil
}

// begun is the job of TO that could not be started because a copy that was cut
// had started it; nil = it has ended meanwhile.
func (c *copier) begun(ctx context.Context, id string, refusal error) (*onceq.JobRow, error) {
	jobs, err := c.to.Get(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("read job %s of TO: %w", id, err)
	}
	switch j := jobs[0]; {
	case j == nil || j.State.Finished():
		return nil, nil
	case unfinished(j) && j.State == onceq.Running:
		return j, nil
	case unfinished(j):
		return nil, fmt.Errorf(
			"job %s cannot be started in TO: %w; resume the queue, and copy again: that pauses it too",
			id,
			refusal,
		)
	}
	return nil, fmt.Errorf("job %s of TO: %w", id, refusal)
}

// leave takes the worker of this copy out of TO.
func (c *copier) leave(ctx context.Context) error {
	if !c.known || ctx.Err() != nil {
		return nil
	}
	_, err := c.to.Extend(ctx, onceq.ExtendRequest{Worker: c.worker, FetchesDone: c.started})
	return err
}

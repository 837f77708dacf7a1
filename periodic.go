package onceq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// Periodic is a schedule: at each of its ticks one job is enqueued, however
// many workers there are.
//
// A schedule lives in the store, as one row that makes the next one. So ticks
// follow the clock of the store, no worker leads, and the row knows what was
// missed while no worker ran. Workers serve it that name it in
// WorkerConfig.Periodic or have WorkerConfig.ServePeriodic.
//
// The job of a tick has an ID made of Name and tick: a tick has one job, also
// where a worker was killed in the middle of it. Whether jobs of two ticks may
// overlap is said with [Unique] in Options: Unique{} skips a tick while the
// job of an earlier one is not finished, OnConflict(Coalesce) runs it once
// more afterwards, and without either they run side by side.
type Periodic struct {
	Name string // names the schedule in the store: 1 to 200 printable bytes
	// Schedule is five fields (minute, hour, day of month, month, day of
	// week), one of @hourly, @daily, @weekly, @monthly and @yearly, or "@every
	// 90s". docs/periodic.md has the rules; [NextTicks] shows what it means.
	Schedule string
	// Location is the time zone of Schedule; nil = UTC. It must have a name
	// that every host knows, such as Europe/Berlin: not time.Local.
	Location *time.Location
	Args     Args // of the jobs; encoded once, when the schedule is put
	// Options are those of the jobs. ID, Delay, RunAt, Token, and a Retention
	// or RetentionFailed below one hour, are refused: they are what makes a tick
	// one job.
	Options []Option
	CatchUp CatchUp // what becomes of ticks that were missed; Latest unless said
	// Jitter spreads the jobs of many schedules over time: each waits up to
	// this long after its tick. How long follows from Name and tick, and is
	// the same on every worker. 0 = none; at most 24h.
	Jitter time.Duration
}

// CatchUp says what becomes of the ticks that were missed because no worker
// ran.
type CatchUp uint8

// The ways to catch up.
const (
	Latest CatchUp = iota // one job, of the last tick that was missed
	All                   // a job for each, oldest first; of more than 1,000 the last 1,000
	None                  // none, but for one that is late by a minute or less
)

var catchUps = [...]string{"latest", "all", "none"}

func (c CatchUp) String() string {
	if int(c) < len(catchUps) {
		return catchUps[c]
	}
	return fmt.Sprintf("CatchUp(%d)", uint8(c))
}

// MarshalText is String.
func (c CatchUp) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "latest", "all" or "none".
func (c *CatchUp) UnmarshalText(text []byte) error {
	for i, name := range catchUps {
		if string(text) == name {
			*c = CatchUp(i)
			return nil
		}
	}
	return invalid("Periodic.CatchUp", string(text), "must be latest, all or none")
}

// PeriodicInfo is one schedule as the store has it.
type PeriodicInfo struct {
	Name, Schedule, Zone string        // as they were put
	Kind, Queue          string        // of its jobs
	CatchUp              CatchUp       // what becomes of ticks that were missed
	Jitter               time.Duration // how long a job waits at most after its tick
	Source               string        // "code": from WorkerConfig.Periodic, "store": from PutPeriodic
	Paused               bool          // it makes no jobs
	Next                 time.Time     // its next tick; zero while it is paused
	LastTick             time.Time     // the last one that was made; zero = none yet
	// Last is the job of LastTick. It is nil if that tick was skipped, or if
	// the job is no longer kept.
	Last *JobRow
	// Orphan is since when workers have found that none of them has this
	// schedule in its code; zero = they have it. It makes no jobs then, and
	// goes after 24h.
	Orphan time.Time
	Error  string // why its last tick could not be made; "" = it could
}

// PutPeriodic makes a schedule, or changes the one of that name. A schedule
// that is put again unchanged stays as it is, and so does whether it is
// paused. If only the job or the way to catch up changed, no tick is lost; if
// Schedule or Location changed, ticks count from now on.
//
// While a worker makes a tick of it, which takes milliseconds, PutPeriodic
// waits for that. It waits for a worker that died in the middle of a tick
// until the tick is rescued, about two leases.
func (c *Client) PutPeriodic(ctx context.Context, p Periodic) (PeriodicInfo, error) {
	if err := c.usable(ctx); err != nil {
		return PeriodicInfo{}, err
	}
	spec, err := c.specOf(ctx, p, fromStore)
	if err != nil {
		return PeriodicInfo{}, err
	}
	return c.putSpec(ctx, spec)
}

func (c *Client) putSpec(ctx context.Context, spec *periodicSpec) (PeriodicInfo, error) {
	return c.editPeriodic(ctx, spec.Name, func(old *periodicRow) (*periodicRow, error) {
		next := &periodicRow{spec: *spec}
		if old == nil {
			return next, nil
		}
		next.spec.Paused = old.spec.Paused
		next.spec.Job.keepCode(&old.spec.Job)
		next.state = periodicState{LastTick: old.state.LastTick, Last: old.state.Last}
		if spec.Schedule == old.spec.Schedule && spec.Zone == old.spec.Zone {
			next.state.After = old.after()
		}
		return next, nil
	})
}

// PausePeriodic keeps a schedule from making jobs until [Client.ResumePeriodic].
// [ErrNotFound] means that there is none of that name.
func (c *Client) PausePeriodic(ctx context.Context, name string) error {
	return c.setPaused(ctx, name, true)
}

// ResumePeriodic lets a paused schedule go on with its next tick, whatever
// CatchUp says. [ErrNotFound] means that there is none of that name.
func (c *Client) ResumePeriodic(ctx context.Context, name string) error {
	return c.setPaused(ctx, name, false)
}

func (c *Client) setPaused(ctx context.Context, name string, paused bool) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	_, err := c.editPeriodic(ctx, name, func(old *periodicRow) (*periodicRow, error) {
		switch {
		case old == nil:
			return nil, noPeriodic(name)
		case old.spec.Paused == paused:
			return old, nil
		}
		next := &periodicRow{spec: old.spec, state: old.state}
		next.spec.Paused = paused
		next.state.After = time.Time{} // ticks count from this edit on
		return next, nil
	})
	return err
}

// RemovePeriodic removes a schedule. Jobs that it has made stay. One that is
// named in the code of a worker comes back when such a worker starts.
// [ErrNotFound] means that there is none of that name.
func (c *Client) RemovePeriodic(ctx context.Context, name string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	return c.untilStill(ctx, name, func(old *periodicRow) (done bool, err error) {
		if old == nil {
			return false, noPeriodic(name)
		}
		if old.job.State == Running {
			return false, nil
		}
		results, err := c.store.Change(ctx, Change{Op: OpDelete, IDs: []string{old.job.ID}})
		if err != nil {
			return false, fmt.Errorf("onceq: remove periodic job %s: %w", name, err)
		}
		return results[0].Err == nil, nil // else a worker began with it
	})
}

// TickNow enqueues the job of a schedule now, besides its ticks, also while
// it is paused. [Tick] then gives the instant of this enqueue. [ErrNotFound]
// means that there is no schedule of that name.
func (c *Client) TickNow(ctx context.Context, name string) (Receipt, error) {
	if err := c.usable(ctx); err != nil {
		return Receipt{}, err
	}
	old, err := c.findPeriodic(ctx, name)
	if err != nil {
		return Receipt{}, err
	}
	if old == nil {
		return Receipt{}, noPeriodic(name)
	}
	row, err := old.spec.row(time.Time{})
	if err != nil {
		return Receipt{}, err
	}
	row.Nonce, row.made = newNonce(), true
	if row.ID = c.ids.next(time.Now()); c.place != nil {
		row.ID = c.place(row.ID, row.key())
	}
	results, err := c.sendRows(ctx, []NewRow{row})
	if err != nil {
		return Receipt{}, err
	}
	return c.receipt(ctx, &row, results[0])
}

// Periodics lists the schedules of the store, by name.
func (c *Client) Periodics(ctx context.Context) ([]PeriodicInfo, error) {
	rows, err := c.allPeriodic(ctx)
	if err != nil {
		return nil, err
	}
	return c.infosOf(ctx, rows)
}

// infosOf tells about schedules, and looks up the jobs of their last ticks.
func (c *Client) infosOf(ctx context.Context, rows []*periodicRow) ([]PeriodicInfo, error) {
	infos := make([]PeriodicInfo, len(rows))
	var ids []string
	var of []int // which schedule each ID belongs to
	for i, row := range rows {
		if infos[i] = row.info(); row.state.Last != "" {
			ids, of = append(ids, row.state.Last), append(of, i)
		}
	}
	for i := 0; i < len(ids); i += page {
		jobs, err := c.store.Get(ctx, ids[i:min(i+page, len(ids))])
		if err != nil {
			return nil, fmt.Errorf("onceq: get the jobs of the last ticks: %w", err)
		}
		for n, job := range jobs {
			infos[of[i+n]].Last = job
		}
	}
	return infos, nil
}

func (c *Client) infoOf(ctx context.Context, row *periodicRow) (PeriodicInfo, error) {
	infos, err := c.infosOf(ctx, []*periodicRow{row})
	if err != nil {
		return PeriodicInfo{}, err
	}
	return infos[0], nil
}

// Tick tells, inside a handler, which tick of which schedule a job belongs
// to; ok is false if it belongs to none.
func Tick(job *JobRow) (name string, tick time.Time, ok bool) {
	if job == nil {
		return "", time.Time{}, false
	}
	name, ok = job.Meta[metaSchedule].(string)
	if !ok {
		return "", time.Time{}, false
	}
	text, ok := job.Meta[metaTick].(string)
	if !ok {
		return name, job.EnqueuedAt, true // TickNow
	}
	tick, err := time.Parse(time.RFC3339, text)
	return name, tick, err == nil
}

func noPeriodic(name string) error { return fmt.Errorf("periodic job %q: %w", name, ErrNotFound) }

// editPeriodic replaces a schedule by what change makes of it; change gets
// nil where there is none.
func (c *Client) editPeriodic(ctx context.Context, name string,
	change func(old *periodicRow) (*periodicRow, error)) (info PeriodicInfo, err error) {
	err = c.untilStill(ctx, name, func(old *periodicRow) (done bool, err error) {
		next, err := change(old)
		if err != nil {
			return false, err
		}
		row, err := next.row(c, editReactions)
		if err != nil {
			return false, err
		}
		if old != nil && row.Claim.Digest == old.job.Digest && next.state.Orphan.Equal(old.state.Orphan) {
			info, err = c.infoOf(ctx, old)
			return true, err
		}
		results, err := c.sendRows(ctx, []NewRow{row})
		if err != nil {
			return false, err
		}
		if results[0].Outcome == Skipped {
			return false, nil // a worker makes a tick
		}
		next.job = results[0].Job
		info, err = c.infoOf(ctx, next)
		return true, err
	})
	return info, err
}

// untilStill calls step with the row of a schedule, until it is done. A step
// cannot be done while a worker makes a tick, because that worker puts the
// next row of the schedule as it has read it.
func (c *Client) untilStill(ctx context.Context, name string,
	step func(old *periodicRow) (done bool, err error)) error {
	if err := checkPeriodicName(name); err != nil {
		return err
	}
	lost := 0
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		old, err := c.findPeriodic(ctx, name)
		if err != nil {
			return err
		}
		done, err := step(old)
		if errors.Is(err, ErrUncertain) && lost < resends {
			lost, err = lost+1, nil // the next look tells
		}
		if done || err != nil {
			return err
		}
		if !sleep.For(ctx, wait) {
			return fmt.Errorf("onceq: change periodic job %s while a worker makes a tick of it: %w", name,
				context.Cause(ctx))
		}
	}
}

func checkPeriodicName(name string) error {
	if len(name) > maxPeriodicName {
		return invalid("Periodic.Name", name, "must be at most %d bytes long, not %d", maxPeriodicName, len(name))
	}
	return checkName("Periodic.Name", bound(name, MaxNameSize))
}

const maxPeriodicName = 200

// zoneName is the name by which every host can load a time zone.
func zoneName(loc *time.Location) (string, error) {
	if loc == nil {
		return "UTC", nil
	}
	name := loc.String()
	same, err := time.LoadLocation(name)
	if err != nil || name == "" || strings.EqualFold(name, "Local") {
		return "", invalid("Periodic.Location", name, "must be a time zone that every host knows by this name: "+
			"time.LoadLocation(\"Europe/Berlin\")")
	}
	for month := time.January; month <= time.December; month++ {
		at := time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC)
		_, offset := at.In(loc).Zone()
		if _, known := at.In(same).Zone(); offset != known {
			return "", invalid("Periodic.Location", name, "is not the time zone that other hosts know by this name: "+
				"use time.LoadLocation")
		}
	}
	return name, nil
}

package onceq

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"time"
)

// DoctorReport is what [Client.Doctor] found.
type DoctorReport struct {
	Jobs       int      `json:"jobs"`       // that were checked
	Reserved   int      `json:"reserved"`   // checked jobs of onceq's own (see ReservedName), not among Jobs
	Keys       int      `json:"keys"`       // held keys that were checked
	Inert      int      `json:"inert"`      // key rows that are free and were not swept yet
	Violations []string `json:"violations"` // one line each; empty when all is well
	// Growth names what only grows, and what makes it smaller, one line each. It is
	// no violation.
	Growth []string `json:"growth,omitempty"`
}

// Doctor checks the invariants of every job and every key of a store, while
// the store is in use:
//
//   - a held key has a holder, and the terms of that job say that it holds;
//   - a job whose terms say that it holds its key does hold it;
//   - a key has one holder and at most one waiter;
//   - no job stands behind a run that has ended.
//
// Jobs change meanwhile, so what looks wrong is read again before it is
// reported. A store that can check its own files does that too, and says what
// only grows. progress, which may be nil, gets the number of rows that are done.
//
// Doctor does not know the clock of the store: it requires a job with a TTL
// to hold its key only while the end of the TTL is an hour away by the
// clock of this host.
func (c *Client) Doctor(ctx context.Context, progress func(done int)) (DoctorReport, error) {
	d := doctor{store: c.store, progress: progress}
	if err := c.usable(ctx); err != nil {
		return d.report, err
	}
	if err := d.keys(ctx); err != nil {
		return d.report, err
	}
	if err := d.jobs(ctx); err != nil {
		return d.report, err
	}
	if check := c.store.Traits().Check; check != nil {
		lines, err := check(ctx)
		if err != nil {
			return d.report, err
		}
		d.report.Violations = append(d.report.Violations, lines...)
	}
	return d.report, d.growth(ctx)
}

// late is how long after its retention a finished job is still taken for one that a
// worker is about to prune.
const late = time.Hour

// growth names what nobody tidies, and what the store itself knows.
func (d *doctor) growth(ctx context.Context) error {
	if d.unpruned > 0 {
		d.report.Growth = append(d.report.Growth, fmt.Sprintf("%d finished jobs are kept more than %v beyond their "+
			"retention: workers prune them, and none has run here for long", d.unpruned, late))
	}
	if d.report.Inert > d.report.Jobs+d.report.Reserved+100_000 {
		d.report.Growth = append(d.report.Growth, fmt.Sprintf("%d rows of keys that are free were not swept: workers "+
			"sweep them, and none has run here for long", d.report.Inert))
	}
	growth := d.store.Traits().Growth
	if growth == nil {
		return nil
	}
	lines, err := growth(ctx)
	d.report.Growth = append(d.report.Growth, lines...)
	return err
}

type doctor struct {
	store    Store
	progress func(int)
	report   DoctorReport
	unpruned int // finished jobs that are late to be pruned
	// holders has hashes of the IDs of jobs that were seen to hold a key or to
	// wait for one: these need not be looked up again.
	holders map[uint64]struct{}
	seed    maphash.Seed
}

// looks is how often a suspect is read before it is reported.
const looks = 5

func (d *doctor) keys(ctx context.Context) error {
	d.holders, d.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	for after := ""; ; {
		p, err := d.store.Keys(ctx, KeysRequest{Filter: KeyFilter{Inert: true}, After: after, Limit: page})
		if err != nil {
			return fmt.Errorf("onceq: doctor: list keys: %w", err)
		}
		if err := d.keyPage(ctx, p.Keys); err != nil {
			return err
		}
		d.reportProgress()
		if after = p.Next; after == "" {
			return nil
		}
	}
}

// keyPage checks a page of keys, reading all their jobs at once. What looks
// wrong is read again by itself.
func (d *doctor) keyPage(ctx context.Context, keys []*HeldKey) error {
	var ids []string
	for _, k := range keys {
		if !k.Inert {
			ids = append(ids, k.Holder, cmp.Or(k.Waiter, k.Holder))
		}
	}
	if len(ids) == 0 {
		d.report.Inert += len(keys)
		return nil
	}
	jobs, err := d.store.Get(ctx, ids)
	if err != nil {
		return fmt.Errorf("onceq: doctor: get jobs: %w", err)
	}
	for _, k := range keys {
		if k.Inert {
			d.report.Inert++
			continue
		}
		d.report.Keys++
		holder, waiter := jobs[0], jobs[1]
		jobs = jobs[2:]
		wrong := judgeHolder(k, holder)
		if wrong == "" && k.Waiter != "" {
			wrong = judgeWaiter(k, holder, waiter)
		}
		if wrong != "" {
			if wrong, err = d.suspect(ctx, func() (string, error) { return d.judgeKey(ctx, k.Key) }); err != nil {
				return err
			}
		}
		if wrong != "" {
			d.report.Violations = append(d.report.Violations, fmt.Sprintf("key %s (%s): %s", k.Key, k.Text, wrong))
			continue
		}
		d.holders[maphash.String(d.seed, k.Holder)] = struct{}{}
		if k.Waiter != "" {
			d.holders[maphash.String(d.seed, k.Waiter)] = struct{}{}
		}
	}
	return nil
}

func (d *doctor) reportProgress() {
	if d.progress != nil {
		d.progress(d.report.Jobs + d.report.Reserved + d.report.Keys + d.report.Inert)
	}
}

// suspect repeats a check until it finds nothing wrong, or has found
// something wrong every time.
func (d *doctor) suspect(ctx context.Context, judge func() (string, error)) (wrong string, err error) {
	for look := range looks {
		if look > 0 {
			sleep(ctx, time.Duration(look*look)*5*time.Millisecond)
		}
		if wrong, err = judge(); err != nil || wrong == "" {
			return "", err
		}
	}
	return wrong, nil
}

func (d *doctor) judgeKey(ctx context.Context, key Key) (string, error) {
	k, err := lookUp(ctx, d.store, key)
	if err != nil || k == nil {
		return "", err
	}
	ids := []string{k.Holder}
	if k.Waiter != "" {
		ids = append(ids, k.Waiter)
	}
	jobs, err := d.store.Get(ctx, ids)
	if err != nil {
		return "", fmt.Errorf("onceq: doctor: get jobs: %w", err)
	}
	if wrong := judgeHolder(k, jobs[0]); wrong != "" {
		return wrong, nil
	}
	if k.Waiter != "" {
		return judgeWaiter(k, jobs[0], jobs[1]), nil
	}
	return "", nil
}

// judgeHolder says what is wrong with a held key and its holder. It is
// pure.
func judgeHolder(k *HeldKey, j *JobRow) string {
	switch {
	case k.Gone:
		if k.FreesAt.IsZero() {
			return fmt.Sprintf("its holder %s is gone and no clock frees it", k.Holder)
		}
		return ""
	case j == nil:
		return fmt.Sprintf("its holder %s does not exist", k.Holder)
	case j.Key == nil || *j.Key != k.Key:
		return fmt.Sprintf("its holder %s is not a job of this key", k.Holder)
	case j.Keyless:
		return fmt.Sprintf("its holder %s had given it up", k.Holder)
	case j.Behind != "":
		return "" // its clocks do not run yet; the job is checked later
	}
	pending := k.FreesWhen
	if pending != "" && pending != j.Hold.Until.String() {
		return fmt.Sprintf("it waits until %s, and its holder's terms say until %s", pending, j.Hold.Until)
	}
	if pending != "" && j.Hold.Until.EndsOn(j.State) {
		return fmt.Sprintf("it waits until %s, and its holder is %s", pending, j.State)
	}
	frees := Never
	if !k.FreesAt.IsZero() {
		frees = k.FreesAt.UnixMilli()
	}
	anchor := j.Anchor.UnixMilli()
	switch {
	case pending == "" && frees != j.Hold.RestAt(anchor):
		return fmt.Sprintf("it frees at %s, and by its holder's terms it should at %s", stamp(k.FreesAt),
			stamp(time.UnixMilli(j.Hold.RestAt(anchor))))
	case pending != "" && j.Hold.Until != UntilDue && frees != j.Hold.FreesAt(anchor, j.RunAt.UnixMilli()):
		return fmt.Sprintf("a clock frees it at %q, which is not what its holder's terms say", stamp(k.FreesAt))
	}
	return ""
}

// judgeWaiter says what is wrong with the job behind the holder. It is
// pure.
func judgeWaiter(k *HeldKey, j, w *JobRow) string {
	switch {
	case w == nil:
		return fmt.Sprintf("its waiter %s does not exist", k.Waiter)
	case w.Behind != k.Holder:
		return fmt.Sprintf("its waiter %s stands behind %q, not behind its holder %s", k.Waiter, w.Behind, k.Holder)
	case w.Key == nil || *w.Key != k.Key:
		return fmt.Sprintf("its waiter %s is not a job of this key", k.Waiter)
	case j.State.Finished():
		return fmt.Sprintf("its waiter %s stands behind %s, which is %s", k.Waiter, k.Holder, j.State)
	}
	return ""
}

func (d *doctor) jobs(ctx context.Context) error {
	for after := ""; ; {
		p, err := d.store.List(ctx, ListRequest{After: after, Limit: page})
		if err != nil {
			return fmt.Errorf("onceq: doctor: list jobs: %w", err)
		}
		for _, j := range p.Jobs {
			if isReserved(j.Queue, j.Kind) {
				d.report.Reserved++
			} else {
				d.report.Jobs++
			}
			if j.State.Finished() && time.Since(j.FinishedAt.Add(j.Retention)) > late {
				d.unpruned++
			}
			if _, seen := d.holders[maphash.String(d.seed, j.ID)]; seen && j.Behind == "" || !mustHold(j) &&
				j.Behind == "" {
				continue
			}
			wrong, err := d.suspect(ctx, func() (string, error) { return d.judgeJob(ctx, j.ID) })
			if err != nil {
				return err
			}
			if wrong != "" {
				d.report.Violations = append(d.report.Violations,
					fmt.Sprintf("job %s (%s): %s", j.ID, j.KeyText, wrong))
			}
		}
		d.reportProgress()
		if after = p.Next; after == "" {
			return nil
		}
	}
}

// mustHold reports whether the row of a job says that it holds its key now,
// whatever the clock of the store shows. It is pure, except that it reads
// the clock of this host, give or take an hour.
func mustHold(j *JobRow) bool {
	if j.Key == nil || j.Keyless || j.Behind != "" {
		return false
	}
	if j.Hold.TTL > 0 && j.Anchor.Add(j.Hold.TTL).Before(time.Now().Add(time.Hour)) {
		return false
	}
	switch j.Hold.Until {
	case UntilStarted:
		return j.Run == 0 && !j.State.Finished()
	case UntilFinished, UntilSucceeded, UntilFailed, UntilDeleted:
		return !j.Hold.Until.EndsOn(j.State)
	}
	return false
}

func (d *doctor) judgeJob(ctx context.Context, id string) (string, error) {
	jobs, err := d.store.Get(ctx, []string{id})
	if err != nil {
		return "", fmt.Errorf("onceq: doctor: get job %s: %w", id, err)
	}
	j := jobs[0]
	if j == nil || !mustHold(j) && j.Behind == "" {
		return "", nil
	}
	k, err := lookUp(ctx, d.store, *j.Key)
	if err != nil {
		return "", err
	}
	if j.Behind == "" {
		switch {
		case k == nil:
			return "its terms say that it holds its key, and the key is free", nil
		case k.Holder != j.ID || k.Gone:
			return fmt.Sprintf("its terms say that it holds its key, and %s does", k.Holder), nil
		}
		return "", nil
	}
	if k == nil || k.Holder != j.ID && k.Waiter != j.ID {
		return fmt.Sprintf("it stands behind %s, and its key does not know it", j.Behind), nil
	}
	if jobs, err = d.store.Get(ctx, []string{j.Behind}); err != nil {
		return "", fmt.Errorf("onceq: doctor: get job %s: %w", j.Behind, err)
	}
	if jobs[0] == nil || jobs[0].State.Finished() {
		return fmt.Sprintf("it stands behind %s, which has ended", j.Behind), nil
	}
	return "", nil
}

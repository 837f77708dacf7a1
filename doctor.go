package onceq

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// DoctorReport is what [Client.Doctor] found.
type DoctorReport struct {
	Jobs       int         // that were checked
	Reserved   int         // checked jobs of onceq's own (see ReservedName), not among Jobs
	Keys       int         // held keys that were checked
	Inert      int         // key rows that are free and were not swept yet
	Violations []Violation // empty when all is well
	// Growth names what only grows, and what makes it smaller, one line each. It is
	// no violation.
	Growth []string
}

// OK reports whether there are no violations.
func (r DoctorReport) OK() bool { return len(r.Violations) == 0 }

// Violation is one broken invariant.
type Violation struct {
	// Code names the invariant, for programs: one of those that docs/json.md
	// lists.
	Code    string
	Job     string // the ID of the job that is concerned; "" = none
	Key     *Key   // the key that is concerned; nil = none
	KeyText string // the readable key
	Text    string // what is wrong, in words
}

// String is all of it in one line.
func (v Violation) String() string {
	switch {
	case v.Key == nil && v.Job == "":
		return v.Text
	case v.Key == nil:
		return fmt.Sprintf("job %s: %s", v.Job, v.Text)
	}
	return fmt.Sprintf("key %s (%s), job %s: %s", v.Key, v.KeyText, v.Job, v.Text)
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
		for _, line := range lines {
			d.report.Violations = append(d.report.Violations, Violation{Code: "damage", Text: line})
		}
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
		p, err := d.store.Keys(ctx, KeysRequest{Inert: true, Cursor: after, Limit: page})
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
		if wrong == nil && k.Waiter != "" {
			wrong = judgeWaiter(k, holder, waiter)
		}
		if wrong != nil {
			if wrong, err = d.suspect(ctx, func() (*Violation, error) { return d.judgeKey(ctx, k.Key) }); err != nil {
				return err
			}
		}
		if wrong != nil {
			d.report.Violations = append(d.report.Violations, *wrong)
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
func (d *doctor) suspect(ctx context.Context, judge func() (*Violation, error)) (wrong *Violation, err error) {
	for look := range looks {
		if look > 0 {
			sleep.For(ctx, time.Duration(look*look)*5*time.Millisecond)
		}
		if wrong, err = judge(); err != nil || wrong == nil {
			return nil, err
		}
	}
	return wrong, nil
}

func (d *doctor) judgeKey(ctx context.Context, key Key) (*Violation, error) {
	k, err := lookUp(ctx, d.store, key)
	if err != nil || k == nil {
		return nil, err
	}
	ids := []string{k.Holder}
	if k.Waiter != "" {
		ids = append(ids, k.Waiter)
	}
	jobs, err := d.store.Get(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("onceq: doctor: get jobs: %w", err)
	}
	if wrong := judgeHolder(k, jobs[0]); wrong != nil {
		return wrong, nil
	}
	if k.Waiter != "" {
		return judgeWaiter(k, jobs[0], jobs[1]), nil
	}
	return nil, nil
}

// judgeHolder says what is wrong with a held key and its holder; nil = nothing.
// It is pure.
func judgeHolder(k *HeldKey, j *JobRow) *Violation {
	wrong := func(code, text string, args ...any) *Violation {
		return &Violation{code, k.Holder, &k.Key, k.Text, fmt.Sprintf(text, args...)}
	}
	switch {
	case k.Gone:
		if k.FreesAt.IsZero() {
			return wrong("held-forever", "the holder is gone and no clock frees the key")
		}
		return nil
	case j == nil:
		return wrong("holder-missing", "the holder does not exist")
	case j.Key == nil || *j.Key != k.Key:
		return wrong("holder-of-another-key", "the holder is not a job of this key")
	case j.Keyless:
		return wrong("holder-gave-up", "the holder had given the key up")
	case j.Behind != "":
		return nil // its clocks do not run yet; the job is checked later
	}
	pending := k.FreesWhen
	if pending != "" && pending != j.Hold.Until.String() {
		return wrong("wrong-event", "the key waits until %s, and its holder's terms say until %s", pending,
			j.Hold.Until)
	}
	if pending != "" && j.Hold.Until.EndsOn(j.State) {
		return wrong("not-released", "the key waits until %s, and its holder is %s", pending, j.State)
	}
	frees := Never
	if !k.FreesAt.IsZero() {
		frees = k.FreesAt.UnixMilli()
	}
	anchor := j.Anchor.UnixMilli()
	switch {
	case pending == "" && frees != j.Hold.RestAt(anchor):
		return wrong("wrong-clock", "the key frees at %s, and by its holder's terms it should at %s", stamp(k.FreesAt),
			stamp(time.UnixMilli(j.Hold.RestAt(anchor))))
	case pending != "" && j.Hold.Until != UntilDue && frees != j.Hold.FreesAt(anchor, j.RunAt.UnixMilli()):
		return wrong("wrong-clock", "a clock frees the key at %q, which is not what its holder's terms say",
			stamp(k.FreesAt))
	}
	return nil
}

// judgeWaiter says what is wrong with the job behind the holder; nil = nothing.
// It is pure.
func judgeWaiter(k *HeldKey, j, w *JobRow) *Violation {
	wrong := func(code, text string, args ...any) *Violation {
		return &Violation{code, k.Waiter, &k.Key, k.Text, fmt.Sprintf(text, args...)}
	}
	switch {
	case w == nil:
		return wrong("waiter-missing", "the waiter of the key does not exist")
	case w.Behind != k.Holder:
		return wrong("waiter-astray", "the waiter of the key stands behind %q, not behind the holder %s", w.Behind,
			k.Holder)
	case w.Key == nil || *w.Key != k.Key:
		return wrong("waiter-of-another-key", "the waiter of the key is not a job of this key")
	case j.State.Finished():
		return wrong("waiter-left-behind", "the waiter of the key stands behind %s, which is %s", k.Holder, j.State)
	}
	return nil
}

func (d *doctor) jobs(ctx context.Context) error {
	for after := ""; ; {
		p, err := d.store.List(ctx, ListRequest{Cursor: after, Limit: page})
		if err != nil {
			return fmt.Errorf("onceq: doctor: list jobs: %w", err)
		}
		for _, j := range p.Jobs {
			if isReserved(j.Queue, j.Kind) {
				d.report.Reserved++
			} else {
				d.report.Jobs++
			}
			if j.State.Finished() && time.Since(j.KeepUntil()) > late {
				d.unpruned++
			}
			if _, seen := d.holders[maphash.String(d.seed, j.ID)]; seen && j.Behind == "" || !mustHold(j) &&
				j.Behind == "" {
				continue
			}
			wrong, err := d.suspect(ctx, func() (*Violation, error) { return d.judgeJob(ctx, j.ID) })
			if err != nil {
				return err
			}
			if wrong != nil {
				d.report.Violations = append(d.report.Violations, *wrong)
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

// judgeJob reads a job that should hold its key, or stand behind another, and
// says what is wrong with it; nil = nothing.
func (d *doctor) judgeJob(ctx context.Context, id string) (*Violation, error) {
	jobs, err := d.store.Get(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("onceq: doctor: get job %s: %w", id, err)
	}
	j := jobs[0]
	if j == nil || !mustHold(j) && j.Behind == "" {
		return nil, nil
	}
	wrong := func(code, text string, args ...any) (*Violation, error) {
		return &Violation{code, j.ID, j.Key, j.KeyText, fmt.Sprintf(text, args...)}, nil
	}
	if j.Key == nil {
		return wrong("behind-without-key", "the job stands behind %s and has no key", j.Behind)
	}
	k, err := lookUp(ctx, d.store, *j.Key)
	if err != nil {
		return nil, err
	}
	if j.Behind == "" {
		switch {
		case k == nil:
			return wrong("key-free", "the job's terms say that it holds its key, and the key is free")
		case k.Holder != j.ID || k.Gone:
			return wrong("key-of-another-job", "the job's terms say that it holds its key, and %s does", k.Holder)
		}
		return nil, nil
	}
	if k == nil || k.Holder != j.ID && k.Waiter != j.ID {
		return wrong("waiter-unknown", "the job stands behind %s, and its key does not know it", j.Behind)
	}
	if jobs, err = d.store.Get(ctx, []string{j.Behind}); err != nil {
		return nil, fmt.Errorf("onceq: doctor: get job %s: %w", j.Behind, err)
	}
	if jobs[0] == nil || jobs[0].State.Finished() {
		return wrong("behind-ended", "the job stands behind %s, which has ended", j.Behind)
	}
	return nil, nil
}

package snapshot

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// Audit returns a line for everything in a store at rest that is not as
// docs/uniqueness.md says, at the instant at which its clock stands. latest
// is the latest instant that its clock has shown; it differs from now only
// if the clock was put back.
func (s Snapshot) Audit(now, latest time.Time) []string {
	a := &auditor{now: now.UnixMilli(), latest: latest.UnixMilli(), jobs: map[string]*onceq.JobRow{}}
	for _, j := range s.Jobs {
		if a.jobs[j.ID] != nil {
			a.report("job %s is listed twice", j.ID)
		}
		a.jobs[j.ID] = j
	}
	a.checkJobs(s.Jobs)
	a.checkKeys(s.Jobs, s.Keys)
	a.checkQueues(s.Jobs, s.Queues)
	return a.findings
}

type auditor struct {
	now, latest int64
	jobs        map[string]*onceq.JobRow
	findings    []string
}

func (a *auditor) report(format string, args ...any) {
	a.findings = append(a.findings, fmt.Sprintf(format, args...))
}

// checkJobs checks that each row agrees with itself, and with the job that
// it stands behind.
func (a *auditor) checkJobs(jobs []*onceq.JobRow) {
	behind := map[string]string{}
	for _, j := range jobs {
		due := j.Behind == "" && j.RunAt.UnixMilli() <= a.now
		switch {
		case j.State == onceq.Available && !due:
			a.report("job %s is shown available, and is not due (behind %q, run at %s)", j.ID, j.Behind, Clock(j.RunAt))
		case (j.State == onceq.Scheduled || j.State == onceq.Retryable) && due:
			a.report("job %s is shown %s, and is due", j.ID, j.State)
		case j.State == onceq.Running && (j.Worker == "" || j.Run < 1 || j.StartedAt.IsZero() || j.Attempt < 1):
			a.report("job %s runs without a worker, run, attempt or start", j.ID)
		case j.State.Finished() && j.FinishedAt.IsZero():
			a.report("job %s is %s and has no finish time", j.ID, j.State)
		case !j.State.Finished() && !j.FinishedAt.IsZero():
			a.report("job %s is %s and has a finish time", j.ID, j.State)
		case !slices.Contains(onceq.States(), j.State):
			a.report("job %s is in state %q", j.ID, j.State)
		case j.CancelRequested && j.State != onceq.Running:
			a.report("job %s is %s, and is asked to stop", j.ID, j.State)
		case j.EnqueuedAt.IsZero() || j.RunAt.IsZero():
			a.report("job %s has no enqueue time or no run time", j.ID)
		case j.Attempt < 0 || int64(j.Attempt) > j.Run:
			a.report("job %s has spent %d attempts in %d runs", j.ID, j.Attempt, j.Run)
		case j.State.Finished() && j.Anchor.After(j.FinishedAt):
			a.report("job %s ended at %s, before its anchor at %s", j.ID, Clock(j.FinishedAt), Clock(j.Anchor))
		case len(j.Errors) > 5:
			a.report("job %s has %d errors", j.ID, len(j.Errors))
		}
		if j.Behind == "" {
			continue
		}
		holder := a.jobs[j.Behind]
		switch {
		case j.State != onceq.Scheduled:
			a.report("job %s stands behind %s and is %s", j.ID, j.Behind, j.State)
		case holder == nil:
			a.report("job %s stands behind %s, which is gone", j.ID, j.Behind)
		case holder.State.Finished():
			a.report("job %s stands behind %s, which is %s", j.ID, j.Behind, holder.State)
		case holder.Behind != "":
			a.report("job %s stands behind %s, which stands behind %s", j.ID, j.Behind, holder.Behind)
		case j.Key == nil || holder.Key == nil || *j.Key != *holder.Key:
			a.report("job %s stands behind %s, which has another key", j.ID, j.Behind)
		case behind[j.Behind] != "":
			a.report("jobs %s and %s stand behind %s", j.ID, behind[j.Behind], j.Behind)
		}
		behind[j.Behind] = j.ID
	}
}

// checkKeys checks that the held keys are those that the terms of the jobs
// say, in both directions.
func (a *auditor) checkKeys(jobs []*onceq.JobRow, keys []*onceq.HeldKey) {
	rows := map[onceq.Key]*onceq.HeldKey{}
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1].Key[:], k.Key[:]) >= 0 {
			a.report("keys are not listed in order, or %s twice", k.Key)
		}
		if k.Inert && (k.Waiter != "" || k.FreesAt.IsZero() || k.FreesAt.UnixMilli() > a.now) {
			a.report("key %s (%s) is called inert, and holds", k.Key, k.Text)
		}
		if !k.Inert {
			rows[k.Key] = k
		}
	}
	byKey := map[onceq.Key][]*onceq.JobRow{}
	for _, j := range jobs {
		if j.Key != nil {
			byKey[*j.Key] = append(byKey[*j.Key], j)
		}
	}
	for k, row := range rows {
		a.checkHolder(k, row)
	}
	for k, js := range byKey {
		a.checkClaims(k, js, rows[k])
	}
}

// checkHolder checks that a held key is held by a job that may hold it, or
// is what is left of a Window or TTL.
func (a *auditor) checkHolder(k onceq.Key, row *onceq.HeldKey) {
	holder := a.jobs[row.Holder]
	if holder == nil || holder.Key == nil || *holder.Key != k {
		if !row.Gone {
			a.report("key %s (%s) is held by %s, which is not there, and does not say so", k, row.Text, row.Holder)
		}
		if row.FreesAt.IsZero() || row.FreesAt.UnixMilli() <= a.now || row.Waiter != "" {
			a.report("key %s (%s) of %s, which is gone, is held beyond any Window or TTL", k, row.Text, row.Holder)
		}
		return
	}
	switch {
	case row.Gone:
		a.report("key %s (%s) says that its holder %s is gone, which is there", k, row.Text, row.Holder)
	case row.State != holder.State || row.Kind != holder.Kind || row.Queue != holder.Queue ||
		row.Text != holder.KeyText || row.Digest != holder.Digest:
		a.report("key %s describes its holder as %+v, which is %s", k, *row, Show(holder))
	case row.Since.IsZero():
		a.report("key %s (%s) does not say since when it is held", k, row.Text)
	}
	if holder.Behind != "" {
		if !row.FreesAt.IsZero() {
			a.report("key %s (%s) of %s frees at %s, though its holder still stands behind a run", k, row.Text,
				holder.ID, Clock(row.FreesAt))
		}
		return
	}
	says := a.says(holder, a.now)
	if says.held == no {
		a.report("key %s (%s) is held by %s (%s), whose terms %+v say it is free", k, row.Text, holder.ID,
			holder.State, holder.Hold)
	}
	if says.held == yes && !says.vague && (freesAt(row) != says.freesAt || row.FreesWhen != says.freesWhen) {
		a.report("key %s (%s) of %s frees at %s on %q; its terms %+v say at %s on %q", k, row.Text, holder.ID,
			Clock(row.FreesAt), row.FreesWhen,
			holder.Hold, time.UnixMilli(says.freesAt), says.freesWhen)
	}
}

func freesAt(row *onceq.HeldKey) int64 {
	if row.FreesAt.IsZero() {
		return onceq.Never
	}
	return row.FreesAt.UnixMilli()
}

// checkClaims checks the jobs of one key: the job whose terms say that it
// holds does hold, and the job behind it is its waiter.
func (a *auditor) checkClaims(k onceq.Key, jobs []*onceq.JobRow, row *onceq.HeldKey) {
	var must, stands *onceq.JobRow
	for _, j := range jobs {
		switch {
		case j.Behind != "":
			if stands != nil {
				a.report("two jobs wait for key %s (%s): %s and %s", k, j.KeyText, stands.ID, j.ID)
			}
			stands = j
		case a.says(j, a.now).held == yes && a.says(j, a.latest).held == yes:
			if must != nil {
				a.report("two jobs hold key %s (%s): %s and %s", k, j.KeyText, must.ID, j.ID)
			}
			must = j
		}
	}
	holder, waiter := "", ""
	if row != nil {
		holder, waiter = row.Holder, row.Waiter
	}
	switch {
	case must != nil && holder != must.ID:
		a.report("key %s (%s) is held by %q; the terms %+v of %s (%s) say that it holds", k, must.KeyText, holder,
			must.Hold, must.ID, must.State)
	case stands != nil && holder != stands.ID && waiter != stands.ID:
		a.report("%s stands behind %s for key %s (%s) and is neither holder (%q) nor waiter (%q)", stands.ID,
			stands.Behind, k, stands.KeyText, holder, waiter)
	case stands != nil && waiter == stands.ID && stands.Behind != holder:
		a.report("%s waits for the key of %s and stands behind %s", stands.ID, holder, stands.Behind)
	case waiter != "" && (stands == nil || stands.ID != waiter):
		a.report("key %s (%s) has a waiter %s, which does not stand behind its holder", k, row.Text, waiter)
	}
}

// answer is whether the row of a job says that it holds its key.
type answer uint8

const (
	no answer = iota
	yes
	unsaid // the row alone does not tell
)

type terms struct {
	held      answer
	vague     bool // whether the event has come is not told
	freesAt   int64
	freesWhen string
}

// says is section 4 of docs/uniqueness.md, word for word:
//
//	held(t) = ( the holder has not reached Until OR t < anchor + Window )
//	          AND ( no TTL OR t < anchor + TTL )
func (a *auditor) says(j *onceq.JobRow, t int64) terms {
	if j.Key == nil || j.Keyless || j.Behind != "" {
		return terms{}
	}
	anchor, ttlEnds := j.Anchor.UnixMilli(), int64(math.MaxInt64)
	windowEnds := anchor + j.Hold.Window.Milliseconds()
	if j.Hold.TTL > 0 {
		ttlEnds = anchor + j.Hold.TTL.Milliseconds()
	}
	reached := a.reached(j, t)
	if reached == unsaid {
		switch {
		case t < min(windowEnds, ttlEnds):
			return terms{held: yes, vague: true}
		case t < ttlEnds:
			return terms{held: unsaid}
		}
		return terms{}
	}
	s := terms{freesAt: min(windowEnds, ttlEnds)}
	if reached == no {
		s.freesWhen = j.Hold.Until.String()
		s.freesAt = ttlEnds
		if j.Hold.Until == onceq.UntilDue {
			s.freesAt = min(ttlEnds, max(windowEnds, j.RunAt.UnixMilli()))
		}
	}
	if (reached == no || t < windowEnds) && t < ttlEnds {
		s.held = yes
	}
	return s
}

// reached is whether the event that the key waits for has come.
func (a *auditor) reached(j *onceq.JobRow, t int64) answer {
	is := func(b bool) answer {
		if b {
			return yes
		}
		return no
	}
	switch j.Hold.Until {
	case onceq.UntilDue:
		if !j.State.Finished() && j.Run == 0 && j.RunAt.UnixMilli() > t {
			if j.Hold.Window > 0 {
				return unsaid // it may have been put off after it was due
			}
			return no
		}
		return yes
	case onceq.UntilStarted:
		if j.State.Finished() || j.State == onceq.Running {
			return yes
		}
		if j.Run == 0 {
			return no
		}
		// It waits for another run: after a failure or a snooze, or after
		// an operator's retry, which gives it a new anchor.
		switch j.Anchor.Compare(j.StartedAt) {
		case -1:
			return yes
		case 1:
			return no
		}
		return unsaid
	case onceq.UntilFinished:
		return is(j.State.Finished())
	case onceq.UntilSucceeded:
		return is(j.State == onceq.Completed)
	case onceq.UntilFailed:
		return is(j.State == onceq.Discarded || j.State == onceq.Cancelled)
	case onceq.UntilDeleted:
		return no
	}
	return yes // UntilWindowEnds
}

// checkQueues checks that the queues are those of the jobs and the paused
// ones, and that their counts are right.
func (a *auditor) checkQueues(jobs []*onceq.JobRow, queues []onceq.QueueInfo) {
	counts, oldest := map[string]map[onceq.State]int{}, map[string]time.Time{}
	for _, j := range jobs {
		if counts[j.Queue] == nil {
			counts[j.Queue] = map[onceq.State]int{}
		}
		counts[j.Queue][j.State]++
		if o, ok := oldest[j.Queue]; j.State == onceq.Available && (!ok || j.RunAt.Before(o)) {
			oldest[j.Queue] = j.RunAt
		}
	}
	listed := map[string]bool{}
	for i, q := range queues {
		if i > 0 && queues[i-1].Name >= q.Name {
			a.report("queues are not listed by name, or %q twice", q.Name)
		}
		listed[q.Name] = true
		got := maps.Clone(q.Counts)
		maps.DeleteFunc(got, func(_ onceq.State, n int) bool { return n == 0 })
		if !maps.Equal(got, counts[q.Name]) && len(got)+len(counts[q.Name]) > 0 {
			a.report("queue %q counts %v, and has %v", q.Name, got, counts[q.Name])
		}
		if !q.OldestDue.Equal(oldest[q.Name]) {
			a.report("queue %q is due since %s, its oldest due job since %s", q.Name, Clock(q.OldestDue),
				Clock(oldest[q.Name]))
		}
		if len(counts[q.Name]) == 0 && !q.Paused {
			a.report("queue %q is listed without a job", q.Name)
		}
	}
	for name := range counts {
		if !listed[name] {
			a.report("queue %q has jobs and is not listed", name)
		}
	}
}

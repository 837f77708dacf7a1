package onceq

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/onceq/onceq/internal/cron"
	"github.com/onceq/onceq/internal/fingerprint"
)

// The rows of schedules. The key of each is its name. Its args say what the
// schedule is and change only by an edit; its meta says how far it has come.
const (
	periodicKind  = reservedPrefix + "periodic"
	periodicQueue = reservedPrefix + "periodic"

	fromCode  = "code"  // periodicSpec.Source
	fromStore = "store" // periodicSpec.Source

	// pausedFor is how far away the run time of a paused schedule is.
	pausedFor = 50 * 365 * 24 * time.Hour
	// mostCaughtUp is how many missed ticks All makes up for.
	mostCaughtUp = 1000
)

// What the job of a tick has in its meta.
const (
	metaSchedule = reservedPrefix + "schedule" // the name
	metaTick     = reservedPrefix + "tick"     // the instant
	metaRoom     = 512                         // bytes for both
)

// editReactions let an edit take the place of a row that waits. While one
// runs an edit has to wait, because that run puts the next row.
var editReactions = Reactions{Scheduled: ActionTake, Available: ActionTake, Retryable: ActionTake, Ended: ActionTake}

// tickReactions let the next row stand behind the run that puts it. If that
// run is no longer the holder, its worker was taken for lost, and another
// one has put the next row.
var tickReactions = Reactions{Running: ActionStand}

// periodicRow is a row of a schedule.
type periodicRow struct {
	spec  periodicSpec
	state periodicState
	job   *JobRow // nil while it is not in the store
}

// periodicSpec is what a schedule is: its args.
type periodicSpec struct {
	Name     string      `json:"name"`
	Schedule string      `json:"schedule"`
	Zone     string      `json:"zone"`
	CatchUp  CatchUp     `json:"catch_up"`
	JitterMS int64       `json:"jitter_ms,omitempty"`
	Source   string      `json:"source"`
	Paused   bool        `json:"paused,omitempty"`
	Job      periodicJob `json:"job"`
}

// periodicJob is the job of a tick with everything decided: a [NewRow].
type periodicJob struct {
	Kind        string          `json:"kind"`
	Queue       string          `json:"queue"`
	Args        json.RawMessage `json:"args,omitempty"`
	Bytes       []byte          `json:"args_base64,omitempty"`
	Coded       []byte          `json:"args_digest,omitempty"` // of what Bytes are the code of
	Meta        json.RawMessage `json:"meta,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	Priority    int             `json:"priority"`
	MaxAttempts int             `json:"max_attempts"`
	TimeoutMS   int64           `json:"timeout_ms,omitempty"`
	RetentionMS int64           `json:"retention_ms"`
	FailedMS    *int64          `json:"retention_failed_ms,omitempty"` // nil = RetentionMS
	Extra       []byte          `json:"extra,omitempty"`
	Claim       *periodicClaim  `json:"claim,omitempty"`
}

// periodicClaim has the numbers that stores keep, which never change.
type periodicClaim struct {
	Key         Key    `json:"key"`
	Text        string `json:"key_text"`
	Digest      []byte `json:"digest"`
	Until       uint8  `json:"until"`
	WindowMS    int64  `json:"window_ms,omitempty"`
	TTLMS       int64  `json:"ttl_ms,omitempty"`
	FromEnqueue bool   `json:"from_enqueue,omitempty"`
	// Reactions are the actions for a holder that is scheduled, available,
	// retryable, running and ended.
	Reactions [5]uint8 `json:"reactions"`
	Write     uint8    `json:"write,omitempty"`
	MaxWaitMS int64    `json:"max_wait_ms,omitempty"`
}

// periodicState is how far a schedule has come: its meta.
type periodicState struct {
	After    time.Time `json:"after,omitzero"`     // ticks up to here are dealt with; zero: up to the enqueue
	LastTick time.Time `json:"last_tick,omitzero"` // that was made
	Last     string    `json:"last,omitempty"`     // the ID of its job
	Orphan   time.Time `json:"orphan,omitzero"`    // since when no worker is known to have it in its code
}

// specOf checks a schedule and decides its jobs.
func (c *Client) specOf(ctx context.Context, p Periodic, source string) (*periodicSpec, error) {
	if err := checkPeriodicName(p.Name); err != nil {
		return nil, err
	}
	if _, err := parseSchedule(p.Schedule); err != nil {
		return nil, err
	}
	zone, err := zoneName(p.Location)
	if err != nil {
		return nil, err
	}
	if p.CatchUp > None {
		return nil, invalid("Periodic.CatchUp", uint8(p.CatchUp), "must be Latest, All or None")
	}
	if p.Jitter < 0 || p.Jitter > 24*time.Hour {
		return nil, invalid("Periodic.Jitter", p.Jitter, "must be 0 to 24h")
	}
	var row NewRow
	if err := c.rowOf(ctx, &row, p.Args, p.Options, newNonce(), 0); err != nil {
		return nil, err
	}
	const why = "cannot be said for a periodic job, "
	switch {
	case row.token:
		return nil, invalid("Token", "", why+"whose ticks have tokens of their own: leave it away")
	case !row.made:
		return nil, invalid("ID", row.ID, why+"whose ID is made of its name and the tick: leave it away")
	case row.Delay != 0:
		return nil, invalid("delay", row.Delay, why+"which is due at its tick: leave it away, or say {Periodic.Jitter}")
	case !row.RunAt.IsZero():
		return nil, invalid("run at", row.RunAt, why+"which is due at its tick: leave it away, or say "+
			"{Periodic.Jitter}")
	case row.Retention < time.Hour:
		return nil, invalid("retention", row.Retention, "must be at least 1h for a periodic job: a tick is known by "+
			"its job")
	case row.RetentionFailed < time.Hour:
		return nil, invalid("retention failed", row.RetentionFailed, "must be at least 1h for a periodic job: a "+
			"tick is known by its job")
	case len(row.Meta) > MaxMetaSize-metaRoom:
		return nil, invalid("meta", fmt.Sprintf("%d bytes", len(row.Meta)), "must be at most %d bytes as JSON for a "+
			"periodic job", MaxMetaSize-metaRoom)
	}
	spec := &periodicSpec{Name: p.Name, Schedule: p.Schedule, Zone: zone, CatchUp: p.CatchUp,
		JitterMS: ceilMilli(p.Jitter).Milliseconds(), Source: source, Job: periodicJobOf(&row)}
	if c.config.Codec != nil {
		raw, encoding, err := encodeArgs(p.Args)
		if err != nil {
			return nil, err
		}
		digest, err := fingerprint.Digest(raw, encoding == EncodingJSON)
		if err != nil {
			return nil, invalidFrom(err, false)
		}
		spec.Job.Coded = digest[:]
	}
	return spec, nil
}

// keepCode takes the code that the job had before, if it is of equal args and
// of the codec of the same name: each time that a codec encodes, it may come to
// another code.
func (j *periodicJob) keepCode(before *periodicJob) {
	a, _ := readCoded(j.Bytes, EncodingBytes)
	b, _ := readCoded(before.Bytes, EncodingBytes)
	if a.by != "" && a.by == b.by && a.encoding == b.encoding && j.Kind == before.Kind &&
		bytes.Equal(j.Coded, before.Coded) {
		j.Bytes = before.Bytes
	}
}

func periodicJobOf(r *NewRow) periodicJob {
	j := periodicJob{Kind: r.Kind, Queue: r.Queue, Meta: r.Meta, Tags: r.Tags, Priority: r.Priority,
		MaxAttempts: r.MaxAttempts, TimeoutMS: r.Timeout.Milliseconds(), RetentionMS: r.Retention.Milliseconds(),
		Extra: r.Extra}
	if r.RetentionFailed != r.Retention {
		ms := r.RetentionFailed.Milliseconds()
		j.FailedMS = &ms
	}
	if r.Encoding == EncodingJSON {
		j.Args = r.Args
	} else {
		j.Bytes = r.Args
	}
	if c := r.Claim; c != nil {
		re := r.Reactions
		j.Claim = &periodicClaim{Key: c.Key, Text: c.Text, Digest: c.Digest[:], Until: uint8(c.Hold.Until),
			WindowMS: c.Hold.Window.Milliseconds(), TTLMS: c.Hold.TTL.Milliseconds(), FromEnqueue: c.Hold.FromEnqueue,
			Reactions: [5]uint8{uint8(re.Scheduled), uint8(re.Available), uint8(re.Retryable), uint8(re.Running),
				uint8(re.Ended)},
			Write: uint8(r.Write), MaxWaitMS: r.MaxWait.Milliseconds()}
	}
	return j
}

// row makes a job of the schedule, for a tick unless that is zero. It has
// no ID yet.
func (s *periodicSpec) row(tick time.Time) (NewRow, error) {
	j := &s.Job
	r := NewRow{Kind: j.Kind, Queue: j.Queue, Args: j.Args, Encoding: EncodingJSON, Tags: j.Tags, Priority: j.Priority,
		MaxAttempts: j.MaxAttempts, Timeout: milliseconds(j.TimeoutMS), Retention: milliseconds(j.RetentionMS),
		RetentionFailed: milliseconds(j.RetentionMS), Extra: j.Extra}
	if j.FailedMS != nil {
		r.RetentionFailed = milliseconds(*j.FailedMS)
	}
	if j.Args == nil {
		r.Args, r.Encoding = j.Bytes, EncodingBytes
	}
	if c := j.Claim; c != nil {
		re := c.Reactions
		r.Claim = &Claim{Key: c.Key, Text: c.Text, Digest: [16]byte(append(c.Digest, make([]byte, 16)...)),
			Hold: Hold{Until: Until(c.Until), Window: milliseconds(c.WindowMS), TTL: milliseconds(c.TTLMS),
				FromEnqueue: c.FromEnqueue}}
		r.Reactions = Reactions{Scheduled: Action(re[0]), Available: Action(re[1]), Retryable: Action(re[2]),
			Running: Action(re[3]), Ended: Action(re[4])}
		r.Write, r.MaxWait = JobFields(c.Write), milliseconds(c.MaxWaitMS)
	}
	meta := map[string]any{}
	if len(j.Meta) > 0 {
		if err := json.Unmarshal(j.Meta, &meta); err != nil {
			return r, fmt.Errorf("the meta of periodic job %s: %w", s.Name, err)
		}
	}
	if meta[metaSchedule] = s.Name; !tick.IsZero() {
		meta[metaTick] = tick.UTC().Format(time.RFC3339)
	}
	var err error
	r.Meta, err = marshalMeta(meta)
	return r, err
}

// tickRow makes the job of a tick. Whoever makes it, it is the same call: a
// worker that does it again gets the answer of the first time.
func (s *periodicSpec) tickRow(c *Client, tick time.Time) (NewRow, error) {
	r, err := s.row(tick)
	if err != nil {
		return r, err
	}
	r.ID = s.Name + "@" + tick.UTC().Format(time.RFC3339)
	sum := sha256.Sum256([]byte("onceq tick\x00" + r.ID))
	r.Nonce, r.again = [16]byte(sum[:16]), true
	if s.JitterMS > 0 {
		h := fnv.New64a()
		h.Write([]byte(r.ID))
		r.RunAt = tick.Add(milliseconds(int64(h.Sum64() % uint64(s.JitterMS))))
	}
	if c.place != nil && c.place(r.ID, r.key()) != r.ID { // it lies in another partition than its key
		r.ID = c.place(r.ID+"-000", r.key())
	}
	return r, nil
}

// row makes the row of a schedule for the store.
func (p *periodicRow) row(c *Client, reactions Reactions) (NewRow, error) {
	runAt, err := p.runAt()
	if err != nil {
		return NewRow{}, err
	}
	args, err := json.Marshal(&p.spec)
	if err != nil {
		return NewRow{}, fmt.Errorf("encode periodic job %s: %w", p.spec.Name, err)
	}
	meta, err := json.Marshal(&p.state)
	if err != nil {
		return NewRow{}, fmt.Errorf("encode periodic job %s: %w", p.spec.Name, err)
	}
	sum, err := fingerprint.Sum(fingerprint.Input{Kind: periodicKind, Args: args, JSON: true,
		By: fingerprint.ByKind, Custom: true, Key: p.spec.Name})
	if err != nil {
		return NewRow{}, invalidFrom(err, false)
	}
	r := NewRow{Kind: periodicKind, Queue: periodicQueue, Args: args, Encoding: EncodingJSON, Meta: meta, Priority: 5,
		MaxAttempts: maxAttempts, Reactions: reactions, Nonce: newNonce(), made: true,
		Claim: &Claim{Key: sum.Key, Text: sum.Text, Digest: sum.Digest, Hold: Hold{Until: UntilFinished}}}
	if p.spec.Paused {
		r.Delay = pausedFor
	} else {
		r.RunAt = runAt
	}
	if r.ID = c.ids.next(time.Now()); c.place != nil {
		r.ID = c.place(r.ID, r.key())
	}
	return r, nil
}

// readPeriodic reads a row of a schedule.
func readPeriodic(job *JobRow) (*periodicRow, error) {
	p := &periodicRow{job: job}
	meta, err := json.Marshal(job.Meta)
	if err == nil {
		err = cmp.Or(json.Unmarshal(job.Args, &p.spec), json.Unmarshal(meta, &p.state))
	}
	if err != nil {
		return nil, fmt.Errorf("periodic job %s cannot be read; perhaps a newer version wrote it: %w", job.ID, err)
	}
	return p, nil
}

// after is the instant up to which ticks are dealt with, by the clock of
// the store.
func (p *periodicRow) after() time.Time {
	if p.state.After.IsZero() && p.job != nil {
		return p.job.EnqueuedAt
	}
	return p.state.After
}

// runAt is when a worker is to look at the schedule. It is zero, which
// means at once, where only the store knows from when on ticks count.
func (p *periodicRow) runAt() (time.Time, error) {
	after := p.after()
	if after.IsZero() || !p.state.Orphan.IsZero() {
		return after, nil
	}
	clock, err := p.spec.clock()
	if err != nil {
		return time.Time{}, err
	}
	return clock.next(after), nil
}

func (p *periodicRow) info() PeriodicInfo {
	s := &p.spec
	info := PeriodicInfo{Name: s.Name, Schedule: s.Schedule, Zone: s.Zone, Kind: s.Job.Kind, Queue: s.Job.Queue,
		CatchUp: s.CatchUp, Jitter: milliseconds(s.JitterMS), Source: s.Source, Paused: s.Paused,
		LastTick: p.state.LastTick, Orphan: p.state.Orphan}
	if n := len(p.job.Errors); n > 0 {
		info.Error = p.job.Errors[n-1].Error
	}
	clock, err := s.clock()
	switch {
	case err != nil:
		info.Error = cmp.Or(info.Error, err.Error())
	case !s.Paused:
		info.Next = clock.next(p.after())
	}
	return info
}

// tickClock is a schedule in its time zone.
type tickClock struct {
	schedule *cron.Schedule
	loc      *time.Location
}

func (s *periodicSpec) clock() (tickClock, error) {
	loc, err := time.LoadLocation(s.Zone)
	if err != nil {
		return tickClock{}, fmt.Errorf("this host does not know the time zone of periodic job %s: %w (install tzdata, "+
			"or import time/tzdata)", s.Name, err)
	}
	schedule, err := parseSchedule(s.Schedule)
	return tickClock{schedule, loc}, err
}

func (t tickClock) next(after time.Time) time.Time { return t.schedule.Next(after, t.loc) }

// due returns the ticks later than after, up to now, for which there is to
// be a job, oldest first.
func (t tickClock) due(after, now time.Time, catchUp CatchUp) []time.Time {
	switch catchUp {
	case All:
		return t.last(after, now, mostCaughtUp)
	case None:
		if late := now.Add(-time.Minute - 1); late.After(after) {
			after = late
		}
	}
	return t.last(after, now, 1)
}

// last returns the last n ticks later than after, up to now. It begins near
// to now: far more may have been missed than n.
func (t tickClock) last(after, now time.Time, n int) (ticks []time.Time) {
	for span := time.Minute; ; span *= 4 {
		from := now.Add(-span)
		if span >= now.Sub(after) {
			from = after
		}
		ticks = ticks[:0]
		for at := t.next(from); !at.IsZero() && !at.After(now); at = t.next(at) {
			if ticks = append(ticks, at); len(ticks) == 2*n {
				ticks = append(ticks[:0], ticks[n:]...)
			}
		}
		if len(ticks) >= n || from.Equal(after) {
			return ticks[max(0, len(ticks)-n):]
		}
	}
}

// findPeriodic returns the row that holds the name of a schedule; nil =
// there is none.
func (c *Client) findPeriodic(ctx context.Context, name string) (*periodicRow, error) {
	if err := checkPeriodicName(name); err != nil {
		return nil, err
	}
	sum, err := fingerprint.Sum(fingerprint.Input{Kind: periodicKind, Args: []byte("{}"), JSON: true,
		By: fingerprint.ByKind, Custom: true, Key: name})
	if err != nil {
		return nil, invalidFrom(err, false)
	}
	for {
		held, err := lookUp(ctx, c.store, sum.Key)
		if err != nil || held == nil || held.Gone {
			return nil, err
		}
		jobs, err := c.store.Get(ctx, []string{held.Holder})
		if err != nil {
			return nil, fmt.Errorf("onceq: get periodic job %s: %w", name, err)
		}
		if jobs[0] != nil && !jobs[0].State.Finished() {
			return readPeriodic(jobs[0])
		} // else the next row has become the holder meanwhile
	}
}

// allPeriodic returns one row of each schedule, by name: the one that runs
// or waits, and not the one behind it, but with how far that one has come.
func (c *Client) allPeriodic(ctx context.Context) ([]*periodicRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	byName := map[string]*periodicRow{}
	request := ListRequest{Queue: periodicQueue, Kind: periodicKind, Args: true, Limit: 1000,
		States: []State{Scheduled, Available, Running, Retryable}} // for which stores have an index
	for more := true; more; more = request.Cursor != "" {
		p, err := c.store.List(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("onceq: list periodic jobs: %w", err)
		}
		for _, job := range p.Jobs {
			row, err := readPeriodic(job)
			if err != nil {
				return nil, err
			}
			switch other := byName[row.spec.Name]; {
			case other == nil:
				byName[row.spec.Name] = row
			case job.Behind != "":
				other.state = row.state
			default:
				row.state = other.state
				byName[row.spec.Name] = row
			}
		}
		request.Cursor = p.Next
	}
	rows := make([]*periodicRow, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		rows = append(rows, byName[name])
	}
	return rows, nil
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

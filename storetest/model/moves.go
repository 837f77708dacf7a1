package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// task is args: a number, so that one enqueue can be told from another.
type task int

func (task) Kind() string { return "task" }

// mail is args of another kind.
type mail struct {
	To string `json:"to"`
}

func (mail) Kind() string { return "mail" }

// ways are policies with terms that go with them.
var ways = [][]onceq.Option{
	{},
	{onceq.OnConflict(onceq.Reject)},
	{onceq.Unique{Until: onceq.UntilDue, Window: time.Minute}},
	{onceq.Unique{Until: onceq.UntilDue}},
	{onceq.Unique{Until: onceq.UntilStarted}},
	{onceq.Unique{Until: onceq.UntilStarted, Window: time.Minute, TTL: time.Hour}, onceq.OnConflict(onceq.Reject)},
	{onceq.Unique{TTL: time.Minute}},
	{onceq.Unique{Window: 10 * time.Minute}},
	{onceq.Unique{Window: time.Minute, TTL: 10 * time.Minute, FromEnqueue: true}},
	{onceq.Unique{Until: onceq.UntilSucceeded, TTL: time.Hour}},
	{onceq.Unique{Until: onceq.UntilFailed}},
	{onceq.Unique{Until: onceq.UntilDeleted, TTL: 10 * time.Minute}},
	{onceq.Unique{Until: onceq.UntilDeleted, Window: time.Minute}},
	{onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Minute}},
	{onceq.OnConflict(onceq.Replace{Args: true, Meta: true, Priority: true, RunAt: true,
		MaxAttempts: true, Tags: true})},
	{onceq.OnConflict(onceq.Replace{Args: true, RunAt: true, Only: []onceq.State{onceq.Scheduled}}),
		onceq.Unique{Until: onceq.UntilDue}},
	{onceq.OnConflict(onceq.Replace{RunAt: true}), onceq.Unique{Window: time.Minute, TTL: time.Hour}},
	{onceq.OnConflict(onceq.Replace{Args: true, Priority: true, Tags: true, Meta: true, MaxAttempts: true}),
		onceq.Unique{Until: onceq.UntilStarted}},
	{onceq.OnConflict(onceq.Debounce{MaxWait: 2 * time.Minute})},
	{onceq.OnConflict(onceq.Coalesce)},
	{onceq.OnConflict(onceq.Coalesce)},
	{onceq.OnConflict(onceq.Coalesce), onceq.Unique{TTL: time.Minute}},
	{onceq.OnConflict(onceq.Supersede)},
	{onceq.OnConflict(onceq.Supersede)},
	{onceq.OnConflict(onceq.Supersede), onceq.Unique{TTL: time.Minute}},
}

// item is a random enqueue.
func (m *match) item() (onceq.Args, []onceq.Option) {
	n := len(m.ids)
	var args onceq.Args = task(n)
	opts := slices.Clone(choose(m, ways...))
	switch m.throw(6) {
	case 0:
		opts = []onceq.Option{}
	case 1:
		opts = append(opts, onceq.Unique{}, onceq.UniqueKey("a", onceq.ByKind, onceq.ByQueue))
	default:
		opts = append(opts, onceq.UniqueKey(choose(m, "a", "b", "a")))
	}
	if m.throw(8) == 7 {
		args = mail{To: fmt.Sprint(n % 3)}
	}
	if d := choose(m, 0, 0, time.Second, 30*time.Second, 5*time.Minute); d > 0 ||
		slices.ContainsFunc(opts, isDebounce) {
		opts = append(opts, onceq.Delay(max(d, time.Second)))
	} else if m.throw(6) == 5 {
		opts = append(opts, onceq.RunAt(m.now.Add(choose(m, -time.Hour, time.Minute))))
	}
	if m.throw(3) == 2 {
		opts = append(opts, onceq.Queue("other"), onceq.Priority(m.throw(10)), onceq.MaxAttempts(1+m.throw(3)))
	}
	if m.throw(3) == 2 {
		opts = append(opts, onceq.Retention(choose(m, 0, time.Second, time.Minute)))
	}
	if m.throw(4) == 3 {
		opts = append(opts, onceq.RetentionFailed(choose(m, time.Minute, 0, time.Second)))
	}
	if m.throw(8) == 7 {
		opts = append(opts, onceq.Tags("t"), onceq.Meta(map[string]any{"n": n}), onceq.Timeout(time.Minute))
	}
	if m.throw(4) == 3 {
		opts = append(opts, onceq.Backoff{Initial: time.Duration(1+m.throw(5)) * time.Second})
	}
	return args, opts
}

func isDebounce(o onceq.Option) bool {
	return fmt.Sprintf("%T %v", o, o) == fmt.Sprintf("%T %v", aDebounce, aDebounce)
}

var aDebounce = onceq.OnConflict(onceq.Debounce{MaxWait: 2 * time.Minute})

func (m *match) enqueue() error {
	var rows []onceq.NewRow
	for range 1 + m.throw(3) {
		args, opts := m.item()
		id := ""
		if len(m.ids) > 0 && m.throw(10) == 9 {
			id = choose(m, m.ids...)
		}
		row, err := m.row(args, opts, id)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	m.sent = append(m.sent, rows)
	return m.send(rows, false)
}

// crowd enqueues a batch so long that stores take short cuts, with other
// keys than the rest: none twice, and a few that are held already.
func (m *match) crowd() error {
	var rows []onceq.NewRow
	way, first := choose(m, ways...), m.throw(60)
	met, meets := m.throw(20), m.throw(6) == 5 // an item with an ID that is there
	for i := range 17 + m.throw(4) {
		opts := append(slices.Clone(way), onceq.UniqueKey(fmt.Sprint("crowd ", (first+i)%60)))
		if slices.ContainsFunc(opts, isDebounce) {
			opts = append(opts, onceq.Delay(time.Second))
		}
		id := ""
		if meets && i == met && len(m.ids) > 0 {
			id = choose(m, m.ids...)
		}
		row, err := m.row(task(len(m.ids)), opts, id)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	m.sent = append(m.sent, rows)
	return m.send(rows, false)
}

// row is an enqueue as a client sends it, with a nonce and (without one
// that is named) an ID that are the same in every run.
func (m *match) row(args onceq.Args, opts []onceq.Option, id string) (onceq.NewRow, error) {
	if id != "" {
		opts = append(opts, onceq.ID(id))
	}
	m.rec.Rows = nil
	if _, err := m.client.Enqueue(m.ctx, args, opts...); !errors.Is(err, snapshot.ErrRecorded) {
		return onceq.NewRow{}, fmt.Errorf("%v %v: %w", args, opts, err)
	}
	row := m.rec.Rows[0]
	n := uint64(len(m.ids) + 1)
	binary.BigEndian.PutUint64(row.Nonce[:], n)
	binary.BigEndian.PutUint64(row.Nonce[8:], n)
	var k *onceq.Key
	if row.Claim != nil {
		k = &row.Claim.Key
	}
	if id == "" {
		row.ID = snapshot.Place(m.store, fmt.Sprintf("%026d", n*1000), k)
	}
	m.ids = append(m.ids, row.ID)
	return row, nil
}

// echo sends a batch once more.
func (m *match) echo() error {
	if len(m.sent) == 0 {
		return nil
	}
	return m.send(m.sent[len(m.sent)-1-m.throw(len(m.sent))], true)
}

func (m *match) send(rows []onceq.NewRow, again bool) error {
	got, errGot := m.store.Enqueue(m.ctx, onceq.EnqueueRequest{Rows: rows})
	want, errWant := m.model.Enqueue(m.ctx, onceq.EnqueueRequest{Rows: rows})
	if err := m.same("errors", showErr(errGot), showErr(errWant)); err != nil {
		return err
	}
	for i := range want {
		r := &rows[i]
		m.note("   %s %s %s/%s key %s hold %+v reactions %v delay %v", r.ID, r.Args, r.Kind, r.Queue, text(r), hold(r),
			r.Reactions, r.Delay)
		if err := m.same("answers", showAnswer(got[i], again), showAnswer(want[i], again)); err != nil {
			return err
		}
	}
	return nil
}

func text(r *onceq.NewRow) string {
	if r.Claim == nil {
		return "none"
	}
	return r.Claim.Text
}

func hold(r *onceq.NewRow) (h onceq.Hold) {
	if r.Claim != nil {
		h = r.Claim.Hold
	}
	return h
}

func (m *match) worker() string { return choose(m, "alice", "bob", "carol") }

// know makes a worker known, as it does itself before it fetches.
func (m *match) know(worker string) error {
	if m.fetches[worker] > 0 {
		return nil
	}
	return m.beat(onceq.ExtendRequest{Worker: worker, Lease: time.Minute})
}

func (m *match) fetch() error {
	worker := m.worker()
	if err := m.know(worker); err != nil {
		return err
	}
	m.fetches[worker]++
	r := onceq.FetchRequest{Worker: worker, No: m.fetches[worker],
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1 + m.throw(3)}, {Queue: "other", Slots: m.throw(3)}}}
	if m.throw(6) == 5 {
		r.Kinds = []string{"mail", "none"}
	}
	got, errGot := m.store.Fetch(m.ctx, r)
	want, errWant := m.model.Fetch(m.ctx, r)
	m.runs = append(m.runs, want.Jobs...)
	if err := m.same("errors", showErr(errGot), showErr(errWant)); err != nil {
		return err
	}
	if got.NextDue != want.NextDue && got.NextDue != 0 { // to look at once is never wrong
		return fmt.Errorf("next due in %v, want %v", got.NextDue, want.NextDue)
	}
	return m.same("fetched jobs", showAll(got.Jobs), showAll(want.Jobs))
}

// finish ends runs: current ones, old ones, other workers', by rescue.
func (m *match) finish() error {
	if len(m.runs) == 0 {
		return nil
	}
	var fs []onceq.Finish
	for range 1 + m.throw(3) {
		run := m.runs[len(m.runs)-1-m.throw(min(len(m.runs), 6))]
		f := onceq.Finish{ID: run.ID, Run: run.Run, Worker: run.Worker,
			State: choose(m, onceq.Completed, onceq.Discarded, onceq.Retryable, onceq.Completed, onceq.Scheduled,
				onceq.Cancelled)}
		switch f.State {
		case onceq.Retryable:
			f.Delay, f.Error = choose(m, 0, time.Minute), "error"
		case onceq.Scheduled:
			f.Delay, f.GiveBack = choose(m, 0, time.Minute), true
		case onceq.Discarded:
			f.Error, f.Stack = "fatal", "stack"
		}
		switch m.throw(8) {
		case 6:
			f.Worker = "mallory"
		case 7:
			f.Worker, f.Rescue = "rescuer", true
		}
		fs = append(fs, f)
	}
	m.note("   %+v", fs)
	got, errGot := m.store.Finish(m.ctx, onceq.FinishRequest{Runs: fs})
	want, errWant := m.model.Finish(m.ctx, onceq.FinishRequest{Runs: fs})
	return m.same("results", fmt.Sprint(got, showErr(errGot)), fmt.Sprint(want, showErr(errWant)))
}

func (m *match) extend() error {
	worker := m.worker()
	r := onceq.ExtendRequest{Worker: worker, Lease: choose(m, time.Minute, time.Minute, time.Second, 0),
		FetchesDone: m.fetches[worker] - int64(m.throw(3))}
	for _, run := range m.runs {
		if run.Worker == worker && m.throw(3) > 0 {
			r.Runs = append(r.Runs, onceq.Run{ID: run.ID, Run: run.Run})
		}
	}
	return m.beat(r)
}

func (m *match) beat(r onceq.ExtendRequest) error {
	m.note("   %+v", r)
	got, errGot := m.store.Extend(m.ctx, r)
	want, errWant := m.model.Extend(m.ctx, r)
	return m.same("answers", fmt.Sprint(got, showErr(errGot)), fmt.Sprint(want, showErr(errWant)))
}

func (m *match) change() error {
	if len(m.ids) == 0 {
		return nil
	}
	c := onceq.Change{Op: choose(m, onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow, onceq.OpDelete, onceq.OpRetry,
		onceq.OpMove, onceq.OpMove), WithoutKey: m.throw(3) == 2}
	if c.Op == onceq.OpMove {
		if c.Delay = choose(m, 0, time.Second, 30*time.Second, 10*time.Minute); m.throw(3) == 2 {
			c.RunAt = m.now.Add(choose(m, -time.Hour, time.Minute))
		}
	}
	for range 1 + m.throw(3) {
		c.IDs = append(c.IDs, m.ids[len(m.ids)-1-m.throw(len(m.ids))])
	}
	if m.throw(5) == 4 {
		c.States = []onceq.State{onceq.Available, onceq.Completed, onceq.Running}
	}
	return m.operate(c)
}

// startByID starts some jobs for a worker, which may have started them
// before.
func (m *match) startByID() error {
	if len(m.ids) == 0 {
		return nil
	}
	worker := m.worker()
	if m.throw(6) > 0 {
		if err := m.know(worker); err != nil {
			return err
		}
	}
	if m.throw(4) > 0 {
		m.fetches[worker]++
	}
	c := onceq.Change{Op: onceq.OpStart, Worker: worker, No: m.fetches[worker]}
	for range 1 + m.throw(3) {
		c.IDs = append(c.IDs, m.ids[len(m.ids)-1-m.throw(len(m.ids))])
	}
	if err := m.operate(c); err != nil {
		return err
	}
	jobs, err := m.model.Get(m.ctx, c.IDs)
	for _, j := range jobs {
		if j != nil && j.State == onceq.Running {
			m.runs = append(m.runs, j)
		}
	}
	return err
}

func (m *match) operate(c onceq.Change) error {
	m.note("   %+v", c)
	got, errGot := m.store.Change(m.ctx, c)
	want, errWant := m.model.Change(m.ctx, c)
	return m.same("results", showChanges(got, errGot), showChanges(want, errWant))
}

// release frees a key that somebody holds, or one that nobody does.
func (m *match) release() error {
	page, err := m.model.Keys(m.ctx, onceq.KeysRequest{Limit: 10})
	if err != nil {
		return err
	}
	c := onceq.Change{Op: onceq.OpRelease, Key: onceq.Key{1}}
	if len(page.Keys) > 0 {
		held := choose(m, page.Keys...)
		c.Key, c.Holder = held.Key, choose(m, "", "", held.Holder, held.Waiter, "nobody")
	}
	return m.operate(c)
}

func (m *match) pause() error {
	return m.operate(onceq.Change{Op: choose(m, onceq.OpResume, onceq.OpPause, onceq.OpPause, onceq.OpResume),
		Delay: choose(m, 0, time.Millisecond, 30*time.Second, time.Minute, time.Hour),
		Queue: choose(m, "default", "other")})
}

func (m *match) sweep() error {
	r := onceq.SweepRequest{Limit: 1000, Lost: m.expired}
	got, errGot := m.store.Sweep(m.ctx, r)
	want, errWant := m.model.Sweep(m.ctx, r)
	m.expired = want.Expired
	return m.same("answers", fmt.Sprint(showErr(errGot), got.Expired, got.Jobs, "\n", showAll(got.Runs)),
		fmt.Sprint(showErr(errWant), want.Expired, want.Jobs, "\n", showAll(want.Runs)))
}

func (m *match) wait() error {
	d := choose(m, time.Second, time.Minute, time.Millisecond, 30*time.Second, 10*time.Minute, time.Hour)
	m.note("   %v", d)
	m.at(m.now.Add(d))
	return nil
}

package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// modelled plays random histories on the store and on memstore, the model, with the same clock, and wants equal answers and equal
// contents after every step. ONCEQ_LONG=1 plays fifty times as many. A history that fails is made small and printed, with its seed.
func modelled(t *testing.T, open func(*testing.T) Harness) {
	rounds, played, failed := 1, 0, false
	if long {
		rounds = 50
	}
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			moves := histories.Draw(rt, "moves")
			if played++; raced && !long && played%4 != 1 && !failed {
				return // a quarter of them is enough of a race
			}
			t.Run("history", func(t *testing.T) { // a store of its own, cleaned up when the history is over
				m := newMatch(t, open(t))
				if err := m.play(moves); err != nil {
					failed = true
					defer rt.Errorf("%v\nafter\n%s", err, strings.Join(m.trace, "\n"))
				}
			})
		})
	}
}

// move is one step of a history: a verb, and the dice it throws for everything else.
type move struct {
	Verb string
	Dice []int
}

// histories are 40 moves on average. They are made of stretches because a slice of rapid's is 6 long on average, whatever it may be at most.
var histories = rapid.Map(rapid.SliceOfN(rapid.SliceOfN(moves, 1, 30), 1, 30), func(stretches [][]move) []move { return slices.Concat(stretches...) })

var moves = rapid.Custom(func(t *rapid.T) move {
	return move{
		Verb: rapid.SampledFrom(verbNames).Draw(t, "verb"),
		Dice: rapid.SliceOfN(rapid.IntRange(0, 59), 10, 24).Draw(t, "dice"),
	}
})

// match is a store against the model.
type match struct {
	ctx     context.Context
	store   onceq.Store
	model   *memstore.Store
	harness Harness
	now     time.Time

	client  *onceq.Client // makes rows, and sends none
	rec     *recorder
	dice    []int
	trace   []string
	ids     []string         // of all jobs ever enqueued
	sent    [][]onceq.NewRow // all batches ever sent
	runs    []*onceq.JobRow  // all runs ever started
	fetches map[string]int64
	expired []onceq.Beat // as the last sweep saw them
}

func newMatch(t *testing.T, h Harness) *match {
	m := &match{ctx: context.Background(), store: h.Store, harness: h, fetches: map[string]int64{}, rec: &recorder{Store: h.Store}}
	m.model = memstore.New(func() time.Time { return m.now })
	m.at(start)
	client, err := onceq.NewClient(m.rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	m.client = client
	return m
}

func (m *match) at(t time.Time) {
	m.now = t
	m.harness.SetClock(t)
}

// throw is a number below n.
func (m *match) throw(n int) int {
	if len(m.dice) == 0 {
		return 0
	}
	d := m.dice[0]
	m.dice = m.dice[1:]
	return d % n
}

func choose[T any](m *match, of ...T) T { return of[m.throw(len(of))] }

func (m *match) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// verbs are the steps; a name that stands twice comes up twice as often.
var verbs = map[string]func(m *match) error{
	"enqueue": (*match).enqueue,
	"crowd":   (*match).crowd,
	"echo":    (*match).echo,
	"fetch":   (*match).fetch,
	"finish":  (*match).finish,
	"extend":  (*match).extend,
	"change":  (*match).change,
	"release": (*match).release,
	"pause":   (*match).pause,
	"sweep":   (*match).sweep,
	"wait":    (*match).wait,
}

var verbNames = []string{"enqueue", "enqueue", "enqueue", "enqueue", "crowd", "echo", "fetch", "fetch", "fetch", "finish", "finish", "finish", "extend", "change", "change",
	"release", "pause", "sweep", "wait", "wait"}

// play makes the moves one after another.
func (m *match) play(moves []move) error {
	for i, mv := range moves {
		m.dice = mv.Dice
		m.trace = append(m.trace, fmt.Sprintf("%d. %s at +%v:", i+1, mv.Verb, m.now.Sub(start)))
		if err := verbs[mv.Verb](m); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, mv.Verb, err)
		}
		if err := m.compare(); err != nil {
			return fmt.Errorf("after step %d, %s: %w", i+1, mv.Verb, err)
		}
	}
	return nil
}

// compare wants both stores to show the same, and every invariant to hold.
func (m *match) compare() error {
	got, err := dumpOf(m.ctx, m.store)
	if err != nil {
		return err
	}
	want, err := dumpOf(m.ctx, m.model)
	if err != nil {
		return err
	}
	if !got.same(want) {
		return differ("contents", got.String(), want.String())
	}
	if findings := got.audit(m.now, m.now); len(findings) > 0 {
		return fmt.Errorf("invariants broken:\n%s", strings.Join(findings, "\n"))
	}
	return nil
}

// held are the keys that hold. When a row that holds no longer is dropped is up to each store.
func (d dump) held() []*onceq.HeldKey {
	return slices.DeleteFunc(slices.Clone(d.keys), func(k *onceq.HeldKey) bool { return k.Inert })
}

// same reports whether two stores show the same.
func (d dump) same(e dump) bool {
	return slices.EqualFunc(d.jobs, e.jobs, sameJob) && slices.EqualFunc(d.held(), e.held(), func(a, b *onceq.HeldKey) bool { return showKey(a) == showKey(b) }) &&
		slices.EqualFunc(d.queues, e.queues, func(a, b onceq.QueueInfo) bool { return showQueue(a) == showQueue(b) })
}

func sameJob(a, b *onceq.JobRow) bool {
	x, y := *a, *b
	normal(&x)
	normal(&y)
	return reflect.DeepEqual(x, y)
}

// String is everything about the store that all stores must show alike.
func (d dump) String() string {
	var lines []string
	for _, j := range d.jobs {
		lines = append(lines, show(j))
	}
	for _, k := range d.held() {
		lines = append(lines, showKey(k))
	}
	for _, q := range d.queues {
		lines = append(lines, showQueue(q))
	}
	return strings.Join(lines, "\n")
}

func showQueue(q onceq.QueueInfo) string {
	line := fmt.Sprintf("queue %s paused %v due %s", q.Name, q.Paused, clock(q.OldestDue))
	for _, s := range onceq.States() {
		if q.Counts[s] > 0 {
			line += fmt.Sprintf(" %s %d", s, q.Counts[s])
		}
	}
	return line
}

func showKey(k *onceq.HeldKey) string {
	return fmt.Sprintf("key %s %s %s/%s held by %s (%s, gone %v) since %s frees at %s on %q, waiter %q, digest %x", k.Key, k.Text, k.Kind, k.Queue, k.Holder, k.State, k.Gone,
		clock(k.Since), clock(k.FreesAt), k.FreesWhen, k.Waiter, k.Digest)
}

func showConflict(c *onceq.Conflict) string {
	if c == nil {
		return "no conflict"
	}
	if c.By == "id" { // whether args differ is not the store's to say
		return fmt.Sprintf("by id, text %s, holder %s (%s) since %s", c.Text, c.Holder, c.State, clock(c.Since))
	}
	return fmt.Sprintf("by %s %s %s, holder %s (%s) since %s frees at %s on %q, args differ %v", c.By, c.Key, c.Text, c.Holder, c.State, clock(c.Since), clock(c.FreesAt), c.FreesWhen, c.ArgsDiffer)
}

// showErr is an error as callers branch on it.
func showErr(err error) string {
	var dup *onceq.DuplicateError
	var invalid *onceq.InvalidError
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &dup):
		return fmt.Sprintf("duplicate %s/%s: %s", dup.Kind, dup.Queue, showConflict(&dup.Conflict))
	case errors.As(err, &invalid):
		return "invalid " + invalid.Field
	}
	for _, known := range []error{onceq.ErrNotFound, onceq.ErrLeaseLost, onceq.ErrClosed, onceq.ErrUncertain} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "error: " + err.Error()
}

// same wants an answer of the store to be the model's.
func (m *match) same(what, got, want string) error {
	m.note("   %s", got)
	if got != want {
		return differ(what, got, want)
	}
	return nil
}

// differ shows the lines in which two texts differ.
func differ(what, got, want string) error {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var lines []string
	for _, l := range g {
		if !slices.Contains(w, l) {
			lines = append(lines, "store: "+l)
		}
	}
	for _, l := range w {
		if !slices.Contains(g, l) {
			lines = append(lines, "model: "+l)
		}
	}
	return fmt.Errorf("%s differ:\n%s", what, strings.Join(lines, "\n"))
}

// ways are policies with terms that go with them.
var ways = [][]onceq.Option{
	{},
	{reject},
	{onceq.Unique{Until: onceq.UntilDue, Window: time.Minute}},
	{onceq.Unique{Until: onceq.UntilDue}},
	{onceq.Unique{Until: onceq.UntilStarted}},
	{onceq.Unique{Until: onceq.UntilStarted, Window: time.Minute, TTL: time.Hour}, reject},
	{onceq.Unique{TTL: time.Minute}},
	{onceq.Unique{Window: 10 * time.Minute}},
	{onceq.Unique{Window: time.Minute, TTL: 10 * time.Minute, FromEnqueue: true}},
	{onceq.Unique{Until: onceq.UntilSucceeded, TTL: time.Hour}},
	{onceq.Unique{Until: onceq.UntilFailed}},
	{onceq.Unique{Until: onceq.UntilDeleted, TTL: 10 * time.Minute}},
	{onceq.Unique{Until: onceq.UntilDeleted, Window: time.Minute}},
	{onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Minute}},
	{replace(replaceAll)},
	{replace(onceq.Replace{Args: true, RunAt: true, Only: []onceq.State{onceq.Scheduled}}), onceq.Unique{Until: onceq.UntilDue}},
	{replace(onceq.Replace{RunAt: true}), onceq.Unique{Window: time.Minute, TTL: time.Hour}},
	{replace(onceq.Replace{Args: true, Priority: true, Tags: true, Meta: true, MaxAttempts: true}), onceq.Unique{Until: onceq.UntilStarted}},
	{onceq.OnConflict(onceq.Debounce{MaxWait: 2 * time.Minute})},
	{coalesce},
	{coalesce},
	{coalesce, onceq.Unique{TTL: time.Minute}},
	{supersede},
	{supersede},
	{supersede, onceq.Unique{TTL: time.Minute}},
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
	if d := choose(m, 0, 0, time.Second, 30*time.Second, 5*time.Minute); d > 0 || slices.ContainsFunc(opts, isDebounce) {
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
	if m.throw(8) == 7 {
		opts = append(opts, onceq.Tags("t"), onceq.Meta(map[string]any{"n": n}), onceq.Timeout(time.Minute))
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

// crowd enqueues a batch so long that stores take short cuts, with other keys than the rest: none twice, and a few that are held already.
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

// row is an enqueue as a client sends it, with a nonce and (without one that is named) an ID that are the same in every run.
func (m *match) row(args onceq.Args, opts []onceq.Option, id string) (onceq.NewRow, error) {
	if id != "" {
		opts = append(opts, onceq.ID(id))
	}
	m.rec.rows = nil
	if _, err := m.client.Enqueue(m.ctx, args, opts...); !errors.Is(err, errRecorded) {
		return onceq.NewRow{}, fmt.Errorf("%v %v: %w", args, opts, err)
	}
	row := m.rec.rows[0]
	n := uint64(len(m.ids) + 1)
	binary.BigEndian.PutUint64(row.Nonce[:], n)
	binary.BigEndian.PutUint64(row.Nonce[8:], n)
	var k *onceq.Key
	if row.Claim != nil {
		k = &row.Claim.Key
	}
	if id == "" {
		row.ID = placed(m.store, fmt.Sprintf("%026d", n*1000), k)
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
		m.note("   %s %s %s/%s key %s hold %+v reactions %v delay %v", r.ID, r.Args, r.Kind, r.Queue, text(r), hold(r), r.Reactions, r.Delay)
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

// showAnswer is an answer to an enqueue. What the conflict of an echo was is told in short: its holder may be long gone.
func showAnswer(r onceq.EnqueueResult, again bool) string {
	c := showConflict(r.Conflict)
	if again && r.Conflict != nil && (r.Outcome == onceq.Coalesced || r.Outcome == onceq.Superseded) {
		c = "with " + r.Conflict.Holder
	}
	return fmt.Sprintf("%s %s; %s; frees at %d", r.Outcome, show(r.Job), c, r.FreesAt)
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
	r := onceq.FetchRequest{Worker: worker, No: m.fetches[worker], Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1 + m.throw(3)}, {Queue: "other", Slots: m.throw(3)}}}
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

func showAll(jobs []*onceq.JobRow) string {
	var lines []string
	for _, j := range jobs {
		lines = append(lines, show(j))
	}
	return strings.Join(lines, "\n")
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
			State: choose(m, onceq.Completed, onceq.Discarded, onceq.Retryable, onceq.Completed, onceq.Scheduled, onceq.Cancelled)}
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
	r := onceq.ExtendRequest{Worker: worker, Lease: choose(m, time.Minute, time.Minute, time.Second, 0), FetchesDone: m.fetches[worker] - int64(m.throw(3))}
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
	c := onceq.Change{Op: choose(m, onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow, onceq.OpDelete, onceq.OpRetry), WithoutKey: m.throw(3) == 2}
	for range 1 + m.throw(3) {
		c.IDs = append(c.IDs, m.ids[len(m.ids)-1-m.throw(len(m.ids))])
	}
	if m.throw(5) == 4 {
		c.States = []onceq.State{onceq.Available, onceq.Completed, onceq.Running}
	}
	return m.operate(c)
}

func (m *match) operate(c onceq.Change) error {
	m.note("   %+v", c)
	got, errGot := m.store.Change(m.ctx, c)
	want, errWant := m.model.Change(m.ctx, c)
	return m.same("results", showChanges(got, errGot), showChanges(want, errWant))
}

func showChanges(results []onceq.ChangeResult, err error) string {
	lines := []string{showErr(err)}
	for _, r := range results {
		if r.Err != nil {
			lines = append(lines, showErr(r.Err))
		} else {
			lines = append(lines, show(r.Job))
		}
	}
	return strings.Join(lines, "\n")
}

// release frees a key that somebody holds, or one that nobody does.
func (m *match) release() error {
	page, err := m.model.Keys(m.ctx, onceq.KeysRequest{Limit: 10})
	if err != nil {
		return err
	}
	k := onceq.Key{1}
	if len(page.Keys) > 0 {
		k = choose(m, page.Keys...).Key
	}
	return m.operate(onceq.Change{Op: onceq.OpRelease, Key: k})
}

func (m *match) pause() error {
	return m.operate(onceq.Change{Op: choose(m, onceq.OpResume, onceq.OpPause, onceq.OpResume), Queue: choose(m, "default", "other")})
}

func (m *match) sweep() error {
	r := onceq.SweepRequest{Limit: 1000, Lost: m.expired}
	got, errGot := m.store.Sweep(m.ctx, r)
	want, errWant := m.model.Sweep(m.ctx, r)
	m.expired = want.Expired
	return m.same("answers", fmt.Sprint(showErr(errGot), got.Expired, got.Jobs, "\n", showAll(got.Runs)), fmt.Sprint(showErr(errWant), want.Expired, want.Jobs, "\n", showAll(want.Runs)))
}

func (m *match) wait() error {
	d := choose(m, time.Second, time.Minute, time.Millisecond, 30*time.Second, 10*time.Minute, time.Hour)
	m.note("   %v", d)
	m.at(m.now.Add(d))
	return nil
}

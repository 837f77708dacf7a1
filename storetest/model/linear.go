package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/internal/effort"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// A history of concurrent steps is linearizable if each step can be thought
// to have happened at one instant between its call and its return, such
// that a store that does one thing at a time would have given the same
// answers. Keys are independent, so each has a history of its own. The
// answers of some steps are lost on purpose: they may have been anything.

const (
	linearKeys    = 32
	linearClients = 8
	linearSteps   = 120 // of each client
)

// asked is one step on one key.
type asked struct {
	key    int
	verb   string // enqueue, start, start by ID, finish, cancel, delete, look
	id     string
	policy int         // of an enqueue
	echoed bool        // the enqueue is, or may be, sent more than once
	run    int64       // of a start or finish
	state  onceq.State // of a finish
	fetch  string      // of a start by ID: the worker and the number of its fetch
}

// told is its answer.
type told struct {
	lost    bool // nobody knows
	outcome onceq.Outcome
	job     string // of an enqueue
	status  onceq.FinishStatus
	state   onceq.State // as recorded; "" = refused or not found
	run     int64       // of a start by ID; 0 = refused or not found
	holder  string      // of a look
	waiter  string
}

// keyState is a key, the job that holds it and the one that waits, all held
// until finished.
type keyState struct {
	holder  string
	running bool
	stop    bool // the run is asked to stop
	run     int64
	fetch   string // that started the run, if it was by ID
	waiter  string
	echoes  string // jobs whose enqueue may be sent again, each as "|id outcome|"
}

// passOn is the state when the holder has ended.
func (s keyState) passOn() keyState {
	return keyState{holder: s.waiter, echoes: s.echoes}
}

// accept is the state when a new job was made.
func (s keyState) accept(in asked, o onceq.Outcome) keyState {
	if in.echoed {
		s.echoes += "|" + in.id + " " + string(o) + "|"
	}
	return s
}

var linearPolicies = [...]onceq.Option{onceq.OnConflict(onceq.Skip), onceq.OnConflict(onceq.Reject),
	onceq.OnConflict(onceq.Coalesce), onceq.OnConflict(onceq.Supersede)}

// enqueue is what becomes of an enqueue: the outcome, the job that stands
// for it, and the next state.
func (s keyState) enqueue(in asked) (onceq.Outcome, string, keyState) {
	if i := strings.Index(s.echoes, "|"+in.id+" "); i >= 0 {
		o, _, _ := strings.Cut(s.echoes[i+len(in.id)+2:], "|")
		return onceq.Outcome(o), in.id, s
	}
	if s.holder == "" {
		s.holder = in.id
		return onceq.Inserted, in.id, s.accept(in, onceq.Inserted)
	}
	switch in.policy {
	case 0:
		return onceq.Skipped, s.holder, s
	case 1:
		return onceq.Rejected, s.holder, s
	case 2:
		switch {
		case s.waiter != "":
			return onceq.Replaced, s.waiter, s
		case !s.running:
			return onceq.Replaced, s.holder, s
		}
		s.waiter = in.id
		return onceq.Coalesced, in.id, s.accept(in, onceq.Coalesced)
	}
	if s.running {
		s.stop, s.waiter = true, in.id
	} else {
		s = keyState{holder: in.id, echoes: s.echoes}
	}
	return onceq.Superseded, in.id, s.accept(in, onceq.Superseded)
}

// stepOnKey is the sequential store: whether this answer is right in this
// state, and the next state.
func stepOnKey(state, input, output any) (bool, any) {
	s, in, out := state.(keyState), input.(asked), output.(told)
	switch in.verb {
	case "enqueue":
		outcome, job, next := s.enqueue(in)
		return out.lost || out.outcome == outcome && out.job == job, next
	case "start":
		ok := s.holder == in.id && !s.running && in.run == s.run+1
		s.running, s.run, s.fetch = true, in.run, ""
		return ok, s
	case "start by ID":
		switch {
		case s.holder == in.id && !s.running:
			s.running, s.run, s.fetch = true, s.run+1, in.fetch
			return out.lost || out.run == s.run, s
		case s.holder == in.id && s.fetch == in.fetch: // a repeat
			return out.lost || out.run == s.run, s
		}
		return out.lost || out.run == 0, s
	case "finish":
		if s.holder != in.id || !s.running || s.run != in.run {
			return out.lost || out.status != onceq.FinishDone, s
		}
		recorded := in.state
		if s.stop && in.state != onceq.Completed {
			recorded = onceq.Cancelled
		}
		ok := out.lost || out.status == onceq.FinishDone && out.state == recorded
		if recorded.Finished() {
			return ok, s.passOn()
		}
		s.running = false
		return ok, s
	case "cancel":
		switch {
		case s.holder == in.id && s.running:
			s.stop = true
			return out.lost || out.state == onceq.Running, s
		case s.holder == in.id:
			return out.lost || out.state == onceq.Cancelled, s.passOn()
		case s.waiter == in.id:
			s.waiter = ""
			return out.lost || out.state == onceq.Cancelled, s
		}
		return out.lost || out.state == onceq.Cancelled || out.state == "", s // it had ended before
	case "delete":
		s.echoes = strings.ReplaceAll(s.echoes, "|"+in.id+" ", "|? ")
		switch {
		case s.holder == in.id && s.running:
			return out.lost || out.state == "", state
		case s.holder == in.id:
			return out.lost || out.state != "", s.passOn()
		case s.waiter == in.id:
			s.waiter = ""
			return out.lost || out.state != "", s
		}
		return true, s
	case "look":
		return out.holder == s.holder && out.waiter == s.waiter, s
	}
	return false, s
}

var linearModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, linearKeys)
		for _, op := range history {
			k := op.Input.(asked).key
			parts[k] = append(parts[k], op)
		}
		return parts
	},
	Init: func() any { return keyState{} },
	Step: stepOnKey,
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v: %+v", input, output)
	},
}

// linear is one history being made.
type linear struct {
	*testing.T
	ctx    context.Context
	began  time.Time
	rows   [linearKeys][len(linearPolicies)]onceq.NewRow
	number map[onceq.Key]int

	mu      sync.Mutex
	history []porcupine.Operation
	next    uint64
	ids     [linearKeys][]string // accepted, as far as anybody knows
}

// since is the time of the history, by one monotonic clock.
func (l *linear) since() int64 { return int64(time.Since(l.began)) }

func (l *linear) record(client int, called int64, in asked, out told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, porcupine.Operation{ClientId: client, Input: in, Call: called, Output: out,
		Return: l.since()})
	if out.outcome == onceq.Inserted || out.outcome == onceq.Coalesced || out.outcome == onceq.Superseded {
		l.ids[in.key] = append(l.ids[in.key], in.id)
	}
}

// linearizable plays clients at once on the store and checks the history.
func linearizable(t *testing.T, h storetest.Harness) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.SetClock(start)
	l := &linear{T: t, ctx: ctx, began: time.Now(), number: map[onceq.Key]int{}}
	for k := range linearKeys {
		for p, policy := range linearPolicies {
			row, err := snapshot.Row(h.Store, task(k), onceq.UniqueKey(fmt.Sprint(k)), policy)
			if err != nil {
				t.Fatal(err)
			}
			l.rows[k][p] = row
		}
		l.number[l.rows[k][0].Claim.Key] = k
	}
	stores := []onceq.Store{h.Store}
	for h.Open != nil && len(stores) < 4 {
		stores = append(stores, h.Open())
	}
	var all sync.WaitGroup
	for n := range linearClients {
		c := &linearClient{linear: l, n: n, store: stores[n%len(stores)],
			dice: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(n)))}
		all.Go(c.play)
	}
	all.Wait()
	l.audit(h.Store)
	result, info := porcupine.CheckOperationsVerbose(linearModel, l.history, 20*time.Second)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("%d steps on %d keys: linearizable %s", len(l.history), linearKeys, result)
	for k, partial := range info.PartialLinearizationsOperations() {
		if ops := linearModel.Partition(l.history)[k]; longest(partial) < len(ops) {
			t.Logf("key %d: at most %d of %d steps in a row make sense:\n%s", k, longest(partial),
				len(ops), describe(ops))
		}
	}
}

// audit wants the store to be as the promises say when all is over.
func (l *linear) audit(store onceq.Store) {
	s, err := snapshot.Of(l.ctx, store)
	if err != nil {
		l.Error(err)
	}
	for _, f := range s.Audit(start, start) {
		l.Errorf("invariant broken: %s", f)
	}
}

func longest(partial [][]porcupine.Operation) (n int) {
	for _, p := range partial {
		n = max(n, len(p))
	}
	return n
}

func describe(ops []porcupine.Operation) string {
	var lines []string
	for _, op := range ops {
		lines = append(lines, fmt.Sprintf("  %9d … %9d client %d: %+v → %+v", op.Call, op.Return, op.ClientId,
			op.Input, op.Output))
	}
	return strings.Join(lines, "\n")
}

// linearClient is one client, and one worker.
type linearClient struct {
	*linear
	n     int
	store onceq.Store
	dice  *rand.Rand
	runs  []*onceq.JobRow
	no    int64
}

func (c *linearClient) name() string { return fmt.Sprint("client ", c.n) }

func (c *linearClient) play() {
	c.must(c.store.Extend(c.ctx, onceq.ExtendRequest{Worker: c.name(), Lease: time.Hour}))
	for range effort.Scaled(linearSteps) {
		switch c.dice.IntN(10) {
		case 0, 1, 2, 3:
			c.enqueue()
		case 4:
			c.fetch()
		case 5:
			c.startByID()
		case 6, 7:
			c.finish()
		case 8:
			c.change()
		case 9:
			c.look()
		}
	}
}

func (c *linearClient) must(_ any, err error) {
	if err != nil {
		c.Errorf("%s: %v", c.name(), err)
	}
}

// lose says whether an answer is lost on its way.
func (c *linearClient) lose() bool { return c.dice.IntN(12) == 0 }

// enqueue sends one job or three in a batch. A lost answer is asked for
// again, once, or given up.
func (c *linearClient) enqueue() {
	var rows []onceq.NewRow
	var ins []asked
	lose := c.lose()
	for _, k := range c.dice.Perm(linearKeys)[:1+2*c.dice.IntN(2)] {
		p := c.dice.IntN(len(linearPolicies))
		row := c.rows[k][p]
		c.mu.Lock()
		c.next++
		n := c.next
		c.mu.Unlock()
		row.ID = snapshot.Place(c.store, fmt.Sprintf("%026d", n*1000), &row.Claim.Key)
		binary.BigEndian.PutUint64(row.Nonce[:], n)
		rows, ins = append(rows, row), append(ins, asked{key: k, verb: "enqueue", id: row.ID, policy: p, echoed: lose})
	}
	for again := true; again; lose = false {
		called := c.since()
		results, err := c.store.Enqueue(c.ctx, onceq.EnqueueRequest{Rows: rows})
		if err != nil {
			c.must(nil, err)
			return
		}
		for i, r := range results {
			out := told{outcome: r.Outcome, job: r.Job.ID}
			if lose {
				out = told{lost: true}
			}
			c.record(c.n, called, ins[i], out)
		}
		again = lose && c.dice.IntN(2) == 0
	}
}

func (c *linearClient) fetch() {
	c.no++
	called := c.since()
	f, err := c.store.Fetch(c.ctx, onceq.FetchRequest{Worker: c.name(), No: c.no,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 3}}})
	c.must(nil, err)
	for _, j := range f.Jobs {
		c.record(c.n, called, asked{key: c.number[*j.Key], verb: "start", id: j.ID, run: j.Run}, told{})
		c.runs = append(c.runs, j)
	}
}

// startByID starts a job that was accepted. A lost answer is asked for again.
func (c *linearClient) startByID() {
	k := c.dice.IntN(linearKeys)
	id := c.someID(k)
	if id == "" {
		return
	}
	c.no++
	in := asked{key: k, verb: "start by ID", id: id, fetch: fmt.Sprint(c.name(), " ", c.no)}
	for lose := c.lose(); ; lose = false {
		called := c.since()
		results, err := c.store.Change(c.ctx, onceq.Change{Op: onceq.OpStart, IDs: []string{id}, Worker: c.name(),
			No: c.no})
		if err != nil {
			c.must(nil, err)
			return
		}
		out := told{lost: lose}
		var invalid *onceq.InvalidError
		switch err := results[0].Err; {
		case lose:
		case err == nil:
			out.run = results[0].Job.Run
			c.runs = append(c.runs, results[0].Job)
		case !errors.Is(err, onceq.ErrNotFound) && !errors.As(err, &invalid):
			c.must(nil, err)
		}
		c.record(c.n, called, in, out)
		if !lose {
			return
		}
	}
}

// someID is one of the last jobs of a key that were accepted; "" = none.
func (c *linearClient) someID(k int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.ids[k]
	if len(ids) == 0 {
		return ""
	}
	return ids[len(ids)-1-c.dice.IntN(min(3, len(ids)))]
}

func (c *linearClient) finish() {
	if len(c.runs) == 0 {
		return
	}
	i := c.dice.IntN(len(c.runs))
	j := c.runs[i]
	c.runs = append(c.runs[:i], c.runs[i+1:]...)
	in := asked{key: c.number[*j.Key], verb: "finish", id: j.ID, run: j.Run,
		state: []onceq.State{onceq.Completed, onceq.Completed, onceq.Discarded, onceq.Retryable,
			onceq.Scheduled}[c.dice.IntN(5)]}
	called := c.since()
	results, err := c.store.Finish(c.ctx,
		onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: c.name(), State: in.state}}})
	if err != nil {
		c.must(nil, err)
		return
	}
	out := told{status: results[0].Status, state: results[0].State}
	if c.lose() {
		out = told{lost: true}
	}
	c.record(c.n, called, in, out)
}

// change cancels or deletes a job.
func (c *linearClient) change() {
	k := c.dice.IntN(linearKeys)
	in, op := asked{key: k, verb: "cancel", id: c.someID(k)}, onceq.OpCancel
	if in.id == "" {
		return
	}
	if c.dice.IntN(2) == 0 {
		in.verb, op = "delete", onceq.OpDelete
	}
	called := c.since()
	results, err := c.store.Change(c.ctx, onceq.Change{Op: op, IDs: []string{in.id}})
	if err != nil {
		c.must(nil, err)
		return
	}
	out := told{}
	var invalid *onceq.InvalidError
	switch err := results[0].Err; {
	case err == nil:
		out.state = results[0].Job.State
	case !errors.Is(err, onceq.ErrNotFound) && !errors.As(err, &invalid):
		c.must(nil, err)
	}
	if c.lose() {
		out = told{lost: true}
	}
	c.record(c.n, called, in, out)
}

func (c *linearClient) look() {
	k := c.dice.IntN(linearKeys)
	called := c.since()
	page, err := c.store.Keys(c.ctx, onceq.KeysRequest{Key: &c.rows[k][0].Claim.Key, Limit: 1})
	c.must(nil, err)
	out := told{}
	if len(page.Keys) > 0 {
		out.holder, out.waiter = page.Keys[0].Holder, page.Keys[0].Waiter
	}
	c.record(c.n, called, asked{key: k, verb: "look"}, out)
}

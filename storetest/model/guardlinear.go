package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/internal/effort"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// Of guards that work at the same time, each key has a history that must be
// linearizable too. The clock stands still, so that nothing lapses. Answers of
// the store are lost, which a guard must mend by itself, and callers give up,
// so that nobody knows what became of their calls.

const (
	linearGuardKeys = 12
	guardSteps      = 80 // of each client
)

// guardAsked is one call to a guard.
type guardAsked struct {
	key  int
	verb string // acquire, start, give back, done, release
	id   string // of the claim; of an acquire that was given up: ""
	run  string // of a start and of what ends it
	ends bool   // the claim, with this run
}

// guardKey is a key as its guards have it.
type guardKey struct {
	holder string // the claim
	run    string // of the holder; "" = it waits
	ended  string // claims that have ended, each as "|id|"
}

// stepOfGuard is a guard that does one thing at a time. answer is what the call
// returned: "" where nobody knows.
func stepOfGuard(state, input, output any) (bool, any) {
	s, in, answer := state.(guardKey), input.(guardAsked), output.(string)
	want := ""
	switch in.verb {
	case "acquire":
		if want = "taken by " + s.holder; s.holder == "" {
			want, s.holder = "yes", in.id
		}
	case "start":
		switch {
		case strings.Contains(s.ended, "|"+in.id+"|"):
			want = "done"
		case s.holder != in.id:
			want = "lapsed"
		case s.run != "":
			want = "busy"
		default:
			want, s.run = "yes", in.run
		}
	case "done", "give back":
		want = "lost"
		if s.holder == in.id && s.run == in.run {
			want, s.run = "yes", ""
			if in.ends {
				s.holder, s.ended = "", s.ended+"|"+in.id+"|"
			} else if answer == "lost" { // the answer was, and somebody has started the message since
				want = answer
			}
		}
	case "release":
		want = "not found"
		switch {
		case s.holder == in.id && s.run != "":
			want = "busy"
		case s.holder == in.id:
			want, s.holder = "yes", ""
		}
	}
	return answer == "" || answer == want, s
}

var guardModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, linearGuardKeys)
		for _, op := range history {
			k := op.Input.(guardAsked).key
			parts[k] = append(parts[k], op)
		}
		return parts
	},
	Init: func() any { return guardKey{} },
	Step: stepOfGuard,
}

// linearFleet is one history of guards being made.
type linearFleet struct {
	*testing.T
	ctx   context.Context
	began time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	ids     [linearGuardKeys][]string // that were acquired
	runs    int
}

// forever is after the end of every history: a call of which nobody knows what
// became of it may have happened at any time, or not at all.
const forever = int64(time.Hour)

func (l *linearFleet) since() int64 { return int64(time.Since(l.began)) }

func (l *linearFleet) record(client int, called int64, in guardAsked, answer string) {
	returned := l.since()
	if answer == "" {
		returned = forever
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, porcupine.Operation{ClientId: client, Input: in, Call: called, Output: answer,
		Return: returned})
	if in.verb == "acquire" && (answer == "yes" || answer == "" && in.id != "") {
		l.ids[in.key] = append(l.ids[in.key], in.id)
	}
}

// linearGuards plays clients of four guards at once, and checks the history.
func linearGuards(t *testing.T, h storetest.Harness) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.SetClock(start)
	l := &linearFleet{T: t, ctx: ctx, began: time.Now()}
	var guards []*guard.Guard
	for n := range 4 {
		store := h.Store
		if n > 0 && h.Open != nil {
			store = h.Open()
		}
		link := newLink(store, func() time.Time { return start })
		link.chance = func() fault { return [12]fault{unanswered, unarrived}[rand.IntN(12)] }
		g, err := guard.New(link, &guard.Config{Lease: lease, InDoubt: lease, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		guards = append(guards, g)
	}
	var all sync.WaitGroup
	for n := range linearClients {
		c := &guardClient{linearFleet: l, n: n, guard: guards[n%len(guards)]}
		all.Go(c.play)
	}
	all.Wait()
	for _, g := range guards {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := snapshot.Of(ctx, h.Store)
	if err != nil {
		t.Error(err)
	}
	for _, f := range s.Audit(start, start) {
		t.Errorf("invariant broken: %s", f)
	}
	result, info := porcupine.CheckOperationsVerbose(guardModel, l.history, 20*time.Second)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("%d steps on %d keys: linearizable %s", len(l.history), linearGuardKeys, result)
	for k, partial := range info.PartialLinearizationsOperations() {
		if ops := guardModel.Partition(l.history)[k]; longest(partial) < len(ops) {
			t.Logf("key %d: at most %d of %d steps in a row make sense:\n%s", k, longest(partial), len(ops),
				describe(ops))
		}
	}
}

// guardClient is one goroutine of a program with a guard.
type guardClient struct {
	*linearFleet
	n     int
	guard *guard.Guard
	runs  []linearRun
}

type linearRun struct {
	run *guard.Run
	in  guardAsked
}

func (c *guardClient) play() {
	for range effort.Scaled(guardSteps) {
		switch rand.IntN(8) {
		case 0, 1:
			c.acquire()
		case 2, 3, 4:
			c.start()
		case 5, 6:
			c.done()
		case 7:
			c.release()
		}
	}
	for len(c.runs) > 0 {
		c.done()
	}
}

// patient is the context of a call. Some callers give up soon.
func (c *guardClient) patient() (context.Context, context.CancelFunc) {
	if rand.IntN(20) > 0 {
		return c.ctx, func() {}
	}
	return context.WithTimeout(c.ctx, rand.N(time.Millisecond))
}

// known is the answer of a call: "" if nobody knows it.
func (c *guardClient) known(ctx context.Context, err error) string {
	answer := answerOf(err)
	if !strings.HasPrefix(answer, "error") {
		return answer
	}
	if ctx.Err() == nil && !strings.Contains(answer, "uncertain") {
		c.Errorf("client %d: %v", c.n, err)
	}
	return ""
}

func (c *guardClient) acquire() {
	in := guardAsked{key: rand.IntN(linearGuardKeys), verb: "acquire"}
	ctx, cancel := c.patient()
	defer cancel()
	called := c.since()
	claim, err := c.guard.Acquire(ctx, task(in.key))
	answer := c.known(ctx, err)
	in.id = string(claim.Token)
	if answer == "" {
		in.id = uncertainID(err)
	}
	if answer != "" || in.id != "" { // else nothing was sent
		c.record(c.n, called, in, answer)
	}
}

// someID is one of the latest claims of a key; "" = there is none.
func (c *guardClient) someID(key int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.ids[key]
	if len(ids) == 0 {
		return ""
	}
	return ids[len(ids)-1-rand.IntN(min(3, len(ids)))]
}

func (c *guardClient) start() {
	in := guardAsked{key: rand.IntN(linearGuardKeys), verb: "start"}
	if in.id = c.someID(in.key); in.id == "" {
		return
	}
	c.mu.Lock()
	c.linearFleet.runs++
	in.run = fmt.Sprint(c.linearFleet.runs)
	c.mu.Unlock()
	ctx, cancel := c.patient()
	defer cancel()
	called := c.since()
	r, err := c.guard.Start(ctx, guard.Token(in.id))
	answer := c.known(ctx, err)
	if err == nil && r.Attempt() == 0 {
		answer = "lapsed"
	}
	c.record(c.n, called, in, answer)
	switch {
	case answer == "": // the guard may find the run, and give it back
		in.verb = "give back"
		c.record(c.n, called, in, "")
	case answer == "yes":
		c.runs = append(c.runs, linearRun{r, in})
	}
}

func (c *guardClient) done() {
	if len(c.runs) == 0 {
		return
	}
	i := rand.IntN(len(c.runs))
	r := c.runs[i]
	c.runs = append(c.runs[:i], c.runs[i+1:]...)
	r.in.verb, r.in.ends = "done", rand.IntN(3) > 0
	var how error
	if !r.in.ends {
		how = errNo
	}
	called := c.since()
	c.record(c.n, called, r.in, c.known(c.ctx, r.run.Done(how)))
}

func (c *guardClient) release() {
	in := guardAsked{key: rand.IntN(linearGuardKeys), verb: "release"}
	if in.id = c.someID(in.key); in.id == "" {
		return
	}
	called := c.since()
	c.record(c.n, called, in, c.known(c.ctx, c.guard.Release(c.ctx, guard.Token(in.id))))
}

// uncertainID is the ID of an enqueue whose answer was lost; "" = err is
// something else.
func uncertainID(err error) string {
	var u *onceq.UncertainError
	if errors.As(err, &u) {
		return u.ID
	}
	return ""
}

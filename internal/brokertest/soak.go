package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

// Config says what a soak is of.
type Config struct {
	Store   string // the URL of the guard's store
	Address string // of the broker
	// Dial connects a process to the broker.
	Dial func(ctx context.Context, address string) (Broker, error)
	// Crash kills the broker and starts it again, with the same files.
	Crash func()
	// Age is called after a consumer was killed, if its broker would wait for
	// long until it brings the messages of a dead one again; or nil.
	Age func()
	// LosesStore says that the guard's store dies with the broker.
	LosesStore bool
}

// Soak kills processes and the broker for some seconds (ONCEQ_SOAK for longer),
// and checks what has become of the messages.
func Soak(t *testing.T, c Config) {
	t.Helper()
	folder := t.TempDir()
	team := &crew{t: t, procs: map[*proc]bool{}, killed: map[int]time.Time{},
		env: []string{envStore + "=" + c.Store, envBroker + "=" + c.Address, envLedger + "=" + folder}}
	t.Cleanup(func() {
		for _, p := range team.all("") {
			p.kill()
		}
	})
	for _, role := range []string{"producer", "producer", "consumer", "consumer"} {
		team.start(role)
	}
	await(t, "the first messages are done", 60*time.Second, func() bool { return count(read(t, folder), "done") > 20 })
	counts := team.disturb(&c)
	for _, p := range team.all("producer") {
		p.end()
	}
	team.finish(&c, folder)
	team.lastRound(&c, folder)
	facts := read(t, folder)
	t.Logf("%v; sent %d, refused %d, failed %d, runs %d", counts, count(facts, "sent"), count(facts, "refused"),
		count(facts, "failed"), count(facts, "start"))
	team.check(facts, &c)
}

func span(t testing.TB) time.Duration {
	text := os.Getenv("ONCEQ_SOAK")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// disturb kills one process after the other, and sometimes the broker.
func (c *crew) disturb(config *Config) map[string]int {
	counts := map[string]int{}
	began := time.Now()
	for n := 1; time.Since(began) < span(c.t); n++ {
		time.Sleep(100*time.Millisecond + rand.N(500*time.Millisecond)) // the rhythm of the faults
		if n%5 == 0 {
			config.Crash()
			counts["broker"]++
			continue
		}
		procs := c.all("")
		if len(procs) == 0 {
			c.t.Fatal("all processes have ended")
		}
		p := procs[rand.IntN(len(procs))]
		p.kill()
		counts[p.role]++
		if p.role == "consumer" && config.Age != nil {
			config.Age()
		}
		c.start(p.role)
	}
	return counts
}

// finish waits until all messages were handled.
func (c *crew) finish(config *Config, folder string) {
	c.t.Helper()
	var left []string
	for began, look := time.Now(), time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if left = unhandled(read(c.t, folder)); len(left) == 0 {
			return
		}
		if time.Since(began) > 90*time.Second {
			c.t.Fatalf("%d messages were sent and never handled: %v", len(left), left)
		}
		if config.Age != nil && time.Since(look) > 2*time.Second { // the messages of those who were killed
			look = time.Now()
			config.Age()
			for _, p := range c.all("consumer") {
				p.end()
				c.start("consumer")
				break
			}
		}
	}
}

// unhandled are the messages that were sent and that no handler has ended.
func unhandled(facts []fact) (left []string) {
	done := map[string]bool{}
	for _, f := range facts {
		done[f.ID] = done[f.ID] || f.What == "done"
	}
	for _, f := range facts {
		if f.What == "sent" && !done[f.ID] {
			left = append(left, f.ID)
		}
	}
	return left
}

// lastRound sends one more message of each key, which must be accepted as soon
// as nothing is in doubt any more, and wants no key to be held when they were
// handled.
func (c *crew) lastRound(config *Config, folder string) {
	t := c.t
	t.Helper()
	ctx := t.Context()
	store, err := storeurl.Open(ctx, config.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	g, err := NewGuard(store)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	broker, err := config.Dial(ctx, config.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	l, err := openLedger(folder, "last")
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		body := fmt.Appendf(nil, `{"key":%d,"id":"last-%d"}`, key, key)
		await(t, fmt.Sprintf("key %d is free", key), 30*time.Second, func() bool {
			err := broker.Send(ctx, g, body, byKey())
			if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
				t.Errorf("the last message of key %d: %v", key, err)
			}
			return err == nil
		})
		l.note(fact{What: "sent", Key: key, ID: fmt.Sprint("last-", key)})
	}
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c.finish(config, folder)
	claims := onceq.JobFilter{Queue: "onceq.guard/default"}
	var open []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		open = nil
		for j, err := range client.Jobs(ctx, claims) {
			if err != nil {
				t.Fatal(err)
			}
			if !j.State.Finished() {
				open = append(open, fmt.Sprintf("%s %s attempt %d, lapses %v", j.ID, j.State, j.Attempt, j.RunAt))
			}
		}
		if len(open) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(open) > 0 {
		t.Errorf("all messages were handled, and claims have not ended: %v", open)
	}
	for k, err := range client.Keys(ctx, onceq.KeyFilter{Reserved: true}) {
		t.Errorf("all messages were handled, and key %s is held by %s (%v)", k.Text, k.Holder, err)
	}
	for _, p := range c.all("consumer") {
		p.end()
	}
	report, err := client.Doctor(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Errorf("doctor: %s", v)
	}
}

// story is what became of one message.
type story struct {
	id           string
	key          int
	called, sent int64 // when it was sent, and when that was known; 0 = never
	done         int64 // first
	runs         []run
	loose        bool // its producer was killed while the claim may have been in doubt
}

type run struct {
	began, ended int64
	pid          int
	done         bool
}

func (c *crew) stories(facts []fact) []*story {
	slices.SortFunc(facts, func(a, b fact) int { return int(a.At - b.At) })
	all := map[string]*story{}
	for _, f := range facts {
		s := all[f.ID]
		if s == nil {
			s = &story{id: f.ID, key: f.Key}
			all[f.ID] = s
		}
		at := slices.IndexFunc(s.runs, func(r run) bool { return r.pid == f.PID && r.ended == 0 })
		switch f.What {
		case "send":
			s.called = f.At
			died, ok := c.killed[f.PID]
			s.loose = ok && died.UnixNano()-f.At < 2*int64(inDoubt)
		case "sent":
			s.sent = f.At
		case "start":
			s.runs = append(s.runs, run{began: f.At, pid: f.PID})
		case "done":
			if s.done == 0 {
				s.done = f.At
			}
			if at >= 0 {
				s.runs[at].done = true
			}
		case "end":
			if at >= 0 {
				s.runs[at].ended = f.At
			}
		}
	}
	list := make([]*story, 0, len(all))
	for _, s := range all {
		for i, r := range s.runs {
			if died, ok := c.killed[r.pid]; r.ended == 0 && ok {
				s.runs[i].ended = died.UnixNano()
			}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *story) int { return int(a.called - b.called) })
	return list
}

// check holds what was noted against what a guard promises.
func (c *crew) check(facts []fact, config *Config) {
	t := c.t
	t.Helper()
	byKey := map[int][]*story{}
	runs, repeated := 0, 0
	for _, s := range c.stories(facts) {
		runs += len(s.runs)
		if s.sent == 0 || s.loose {
			continue // it may have lapsed: then it runs beside the next of its key
		}
		byKey[s.key] = append(byKey[s.key], s)
		slices.SortFunc(s.runs, func(a, b run) int { return int(a.began - b.began) })
		for i := 1; i < len(s.runs); i++ {
			repeated++
			before, next := s.runs[i-1], s.runs[i]
			if next.began < before.ended {
				t.Errorf("message %s ran twice at once: %+v", s.id, s.runs)
			}
			died, dead := c.killed[before.pid]
			if before.done && !config.LosesStore && (!dead || died.UnixNano()-before.ended > int64(lease)) {
				t.Errorf("message %s was done, and ran again: %+v", s.id, s.runs)
			}
		}
	}
	for key, all := range byKey {
		for i, a := range all {
			for _, b := range all[i+1:] {
				if b.called > a.sent && b.sent < a.done {
					t.Errorf("key %d: message %s was accepted while %s was on its way: %+v %+v", key, b.id, a.id, b, a)
				}
			}
		}
	}
	if sent := count(facts, "sent"); sent < 50 || count(facts, "refused") < 20 || repeated == 0 {
		t.Errorf("%d messages and %d runs, %d of them repeated: the test proves nothing", sent, runs, repeated)
	}
}

func count(facts []fact, what string) (n int) {
	for _, f := range facts {
		if f.What == what {
			n++
		}
	}
	return n
}

func await(t testing.TB, what string, most time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); !done(); time.Sleep(20 * time.Millisecond) {
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// FreeAddress is an address on which nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Process runs the broker of this test binary at an address, with its files in
// a folder. Calling crash kills it and starts it again.
func Process(t testing.TB, address, folder string) (crash func()) {
	t.Helper()
	c := &crew{t: t, procs: map[*proc]bool{}, killed: map[int]time.Time{},
		env: []string{envBroker + "=" + address, envLedger + "=" + folder}}
	var p *proc
	start := func() {
		p = c.start("broker")
		await(t, "the broker answers", 30*time.Second, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	start()
	t.Cleanup(func() { p.kill() })
	return func() { p.kill(); start() }
}

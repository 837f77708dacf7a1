package onceq

import (
	"slices"
	"testing"
	"time"
)

func newPacer(slots ...int) *pacer {
	p := &pacer{}
	for i, n := range slots {
		p.queues = append(p.queues, &queue{name: string(rune('a' + i)), slots: n, more: true})
	}
	return p
}

func (p *pacer) request(no int64) FetchRequest {
	r := FetchRequest{No: no}
	p.ask(&r, time.Time{})
	return r
}

// jobsOf are n jobs of a queue.
func jobsOf(queue string, n int) (jobs []*JobRow) {
	for range n {
		jobs = append(jobs, &JobRow{Queue: queue})
	}
	return jobs
}

func TestAFetchThatBringsNothingIsRepeatedLessAndLess(t *testing.T) {
	t.Parallel()
	p, now, poll := newPacer(1), time.Now(), time.Second
	var waits []time.Duration
	again := func() time.Duration {
		r := p.request(1)
		p.answered(r, Fetched{NextDue: 0}, now, poll)
		if p.wantsMore() {
			t.Fatal("it asks again at once")
		}
		wait := p.look.Sub(now)
		now = p.look
		p.lookNow(now, poll)
		return wait
	}
	for range 12 {
		waits = append(waits, again()/time.Millisecond)
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000}; !slices.Equal(waits, want) {
		t.Errorf("waits %v ms, want %v", waits, want)
	}
	for range 100 { // no overflow
		if wait := again(); wait != poll {
			t.Fatalf("wait %v", wait)
		}
	}
	p.hasMore("a")
	if !p.wantsMore() {
		t.Error("a wake-up is not heeded")
	}
	if wait := again(); wait != time.Millisecond {
		t.Errorf("after a wake-up: %v", wait)
	}
	again()
	p.answered(p.request(1), Fetched{Jobs: jobsOf("a", 1), NextDue: 0}, now, poll)
	if !p.wantsMore() {
		t.Error("a fetch that brought a job and says that there may be more is not followed by another")
	}
	if wait := again(); wait != time.Millisecond {
		t.Errorf("after a job: %v", wait)
	}
}

func TestAQueueIsAskedAgainWhenThereMayBeMore(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name    string
		fetched Fetched
		more    bool
		look    time.Duration
	}{
		{"nothing is due", Fetched{NextDue: -1}, false, time.Minute},
		{"something is due later", Fetched{NextDue: time.Second}, false, time.Second},
		{"something is due long after", Fetched{NextDue: time.Hour}, false, time.Minute},
		{"one of three, and no more", Fetched{Jobs: jobsOf("a", 1), NextDue: -1}, false, time.Minute},
		{"one of three, cut short", Fetched{Jobs: jobsOf("a", 1), NextDue: 0}, true, time.Minute},
		{"three of three", Fetched{Jobs: jobsOf("a", 3), NextDue: -1}, true, time.Minute},
	} {
		p := newPacer(3)
		p.answered(p.request(1), c.fetched, now, time.Minute)
		if p.wantsMore() != c.more || p.look.Sub(now) != c.look {
			t.Errorf("%s: more %v, look in %v", c.name, p.wantsMore(), p.look.Sub(now))
		}
	}
}

func TestWhatIsAnnouncedWhileAFetchIsUnderWayIsFetchedNext(t *testing.T) {
	t.Parallel()
	p := newPacer(1)
	r := p.request(1)
	p.hasMore("a")
	p.answered(r, Fetched{NextDue: -1}, time.Now(), time.Minute)
	if !p.wantsMore() {
		t.Error("forgotten")
	}
}

func TestNoQueueIsTheLastOfEveryFetch(t *testing.T) {
	t.Parallel()
	p := newPacer(1, 1, 1)
	first := map[string]int{}
	for no := range int64(30) {
		r := p.request(no)
		first[r.Queues[0].Queue]++
		if len(r.Queues) != 3 {
			t.Fatalf("asked for %v", r.Queues)
		}
		p.failed(r)
	}
	if len(first) != 3 || first["a"] != 10 {
		t.Errorf("first were %v", first)
	}
}

func TestACallThatRanOutOfTimeIsFollowedByHalfOfIt(t *testing.T) {
	t.Parallel()
	p := newPacer(100, 3)
	full := p.request(2)
	if full.MaxBytes != fetchBytes || full.Queues[0].Slots != 100 || full.Queues[1].Slots != 3 {
		t.Fatalf("asked for %+v", full)
	}
	p.load.late()
	if r := p.request(2); r.MaxBytes != fetchBytes/2 || r.Queues[0].Slots != 50 || r.Queues[1].Slots != 1 {
		t.Errorf("asked for %+v", r)
	}
	for range 100 {
		p.load.late()
	}
	if r := p.request(2); r.MaxBytes != 1 || r.Queues[0].Slots != 1 || r.Queues[1].Slots != 1 {
		t.Errorf("asked for %+v: one job at least", r)
	}
	p.load.answered(3*time.Second, 10*time.Second)
	if r := p.request(2); r.MaxBytes != 1 {
		t.Errorf("asked for %+v: twice as much might not fit", r)
	}
	for range 100 {
		p.load.answered(2*time.Second, 10*time.Second)
	}
	if r := p.request(2); r.MaxBytes != fetchBytes || r.Queues[0].Slots != 100 {
		t.Errorf("asked for %+v: it does not recover", r)
	}
}

func TestAQueueOfAPoolIsAskedAgainAlthoughOthersHaveMore(t *testing.T) {
	t.Parallel()
	p, shared, now := newPacer(4, 4, 7), &pool{slots: 4}, time.Now()
	for _, q := range p.queues[:2] {
		q.pool, q.weight = shared, 1
	}
	asked := func(at time.Time) (r FetchRequest, slots map[string]int) {
		r, slots = FetchRequest{No: 3}, map[string]int{}
		p.ask(&r, at)
		for _, q := range r.Queues {
			slots[q.Queue] = q.Slots
		}
		return r, slots
	}
	gives := func(r FetchRequest, jobs []*JobRow, next time.Duration) {
		for _, j := range jobs {
			p.queue(j.Queue).take(1)
		}
		p.answered(r, Fetched{Jobs: jobs, NextDue: next}, now, time.Minute)
	}
	r, slots := asked(now)
	if slots["a"] != 2 || slots["b"] != 2 || slots["c"] != 7 {
		t.Fatalf("asked for %v at first", slots)
	}
	gives(r, jobsOf("b", 2), 0) // a has none, b has more
	if look := p.look.Sub(now); look != poolLooks {
		t.Errorf("a is asked again in %v", look)
	}
	r, slots = asked(now)
	if _, again := slots["a"]; again || slots["b"] != 2 {
		t.Fatalf("what a did not need: asked for %v", slots)
	}
	gives(r, jobsOf("b", 1), 0)
	if look := p.look.Sub(now); look != poolLooks {
		t.Errorf("a is asked again in %v", look)
	}
	if r, slots = asked(now.Add(poolLooks)); len(slots) != 3 || slots["a"]+slots["b"] != 1 {
		t.Errorf("a tenth of a second later: asked for %v", slots)
	}
	gives(r, nil, 5*time.Second)
	if look := p.look.Sub(now); look != 5*time.Second || p.wantsMore() {
		t.Errorf("nothing is due: looks in %v, at once %v", look, p.wantsMore())
	}

	// An answer that was cut short is no sign that a queue has no more.
	p.mark("")
	p.queues[1].take(-3)
	r, _ = asked(now)
	gives(r, jobsOf("b", 1), 0)
	if !p.queues[0].more || !p.queues[1].more {
		t.Errorf("after an answer that was cut short: a %v, b %v", p.queues[0].more, p.queues[1].more)
	}
}

// What was told of a queue counts although a later fetch leaves it out.
func TestWhenAQueueOfAPoolIsDueIsNotForgotten(t *testing.T) {
	t.Parallel()
	p, shared, now := newPacer(2, 2), &pool{slots: 2}, time.Now()
	for _, q := range p.queues {
		q.pool, q.weight = shared, 1
	}
	p.answered(p.request(0), Fetched{Jobs: jobsOf("b", 1), NextDue: time.Second}, now, time.Minute)
	p.queues[1].take(1)
	p.hasMore("b")
	r := FetchRequest{}
	p.ask(&r, now)
	p.answered(r, Fetched{NextDue: -1}, now, time.Minute)
	if len(r.Queues) != 1 || p.look.Sub(now) != time.Second {
		t.Errorf("asked for %v, looks in %v", r.Queues, p.look.Sub(now))
	}

	// Where nothing runs all are asked, else a drain might end too early.
	p.queues[1].take(-1)
	p.hasMore("b")
	r = FetchRequest{}
	if p.ask(&r, now); len(r.Queues) != 2 {
		t.Errorf("asked for %v only, though nothing runs", r.Queues)
	}
}

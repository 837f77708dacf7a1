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

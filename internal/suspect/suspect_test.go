package suspect_test

import (
	"testing"
	"time"

	"github.com/onceq/onceq/internal/suspect"
)

func TestASuspectIsLostWhenTheSameBeatIsSeenForLongEnough(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	type beat struct {
		worker string
		no     int
	}
	p := suspect.List[beat]{Grace: 15 * time.Second}
	me := func(b beat) bool { return b.worker == "me" }
	p.Note([]beat{{"a", 1}, {"b", 1}, {"me", 4}, {"gone", -1}}, false, me, at(0))
	if wait, ok := p.Next(at(10)); !ok || wait != 5*time.Second {
		t.Errorf("next in %v, %v", wait, ok)
	}
	if lost := p.Lost(at(14)); len(lost) > 0 {
		t.Errorf("lost too early: %v", lost)
	}
	p.Note([]beat{{"a", 1}, {"b", 2}, {"gone", -1}}, false, me, at(14)) // b lives
	lost := p.Lost(at(15))
	if len(lost) != 2 {
		t.Errorf("lost %v, want a and gone", lost)
	}
	p.Note([]beat{{"gone", -1}}, false, me, at(16)) // a lives, b's lease runs again
	p.Note([]beat{{"a", 1}, {"gone", -1}}, false, me, at(20))
	if lost := p.Lost(at(30)); len(lost) != 1 || lost[0].worker != "gone" {
		t.Errorf("lost %v: what was not expired in between is seen anew", lost)
	}
	p.Note(nil, true, me, at(31))
	if lost := p.Lost(at(31)); len(lost) != 1 {
		t.Errorf("lost %v: a report that was cut clears nobody", lost)
	}
	p.Note(nil, false, me, at(32))
	if _, ok := p.Next(at(32)); ok || len(p.Lost(at(99))) > 0 {
		t.Error("somebody is still suspected")
	}
}

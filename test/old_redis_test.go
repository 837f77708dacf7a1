package test

import (
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/redistest"
)

// TestOldAndNewProgramsShareARedisWhileOneIsDeployed: while workers of the
// first version are there, its data stays as they know it. Once they are gone
// for a while it is brought to the new form, and an old program is refused
// with an error that says why. Nothing is lost, and nothing is there twice.
func TestOldAndNewProgramsShareARedisWhileOneIsDeployed(t *testing.T) {
	old := oldProgram(t)
	if old == "" {
		t.Skip("no old program")
	}
	server := redistest.Start(t)
	s := newStage(t, server.URL())
	s.old = old
	const meta = "{onceq:0}:meta"
	inForm := func(form string) bool {
		v, _ := server.Do("hget", meta, "v").(string)
		return strings.HasPrefix(v, form)
	}
	more := func(n int) { awaitLedger(t, s, countLedger(t, s.ledger)+n) }

	oldProducer := s.start("old producer")
	oldWorkers := []*proc{s.start("old worker"), s.start("old worker")}
	more(300)
	for _, role := range []string{"producer", "worker", "late worker"} {
		s.start(role)
	}
	more(600)
	if !inForm("1") {
		t.Fatal("the data was brought to a new form under a worker that does not know it")
	}
	for _, p := range oldWorkers {
		p.end()
	}
	more(200)
	server.Do("hdel", meta, "old") // ten minutes pass
	s.start("producer")
	for deadline := time.Now().Add(time.Minute); !inForm("2"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the data stays in its form although no old worker is there")
		}
	}
	more(300)
	for _, p := range []*proc{oldProducer, s.start("old worker"), s.start("old producer")} {
		select {
		case <-p.done:
		case <-time.After(2 * time.Minute):
			t.Fatalf("an %s goes on with data in a form that it does not know:\n%s", p.role, last(p.errs.String()))
		}
		if said := p.errs.String(); !strings.Contains(said, "later version of onceq") {
			t.Errorf("an %s is refused, and it does not say why:\n%s", p.role, last(said))
		}
	}

	client := open(t, server.URL())
	for _, p := range s.all("producer") {
		p.end()
	}
	settle(t, client)
	for _, role := range []string{"worker", "late worker"} {
		for _, p := range s.all(role) {
			p.end()
		}
	}
	requireHealthy(t, client)
	lines, there := readLedger(t, s.ledger), jobs(t, client)
	requireNothingLost(t, lines, there)
	requireNoTraceOfFailures(t, lines, there)
	requireALaterStart(t, lines, there)
	requireNoOverlap(t, s, lines)
}

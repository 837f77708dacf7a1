package test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// TestSoak is two minutes a store (ONCEQ_SOAK; 15 seconds in the ordinary
// run) of random policies on ten keys, by producers and workers in
// processes of their own. Workers fail, snooze, hang and are killed; some
// know one kind of jobs only; in a soak some are programs of the first
// version. Meanwhile answers are lost, servers crash, memory and disks fill
// up. At the end every promise is checked.
func TestSoak(t *testing.T) {
	old := ""
	if os.Getenv("ONCEQ_SOAK") != "" {
		old = oldProgram(t)
	}
	for _, name := range slices.Sorted(maps.Keys(grounds)) {
		t.Run(name, func(t *testing.T) {
			g := grounds[name](t) // one after the other: it may say where temporary files go
			if old == "" {
				t.Parallel() // in a soak each has the machine for itself
			}
			soak(t, g, old)
		})
	}
}

func soak(t *testing.T, g ground, old string) {
	s := newStage(t, g.url)
	s.lossy = g.lossy
	span := duration("ONCEQ_SOAK", 15*time.Second)
	if old != "" { // the store is theirs at first, and they stay for a third of the time
		s.old = old
		for _, role := range []string{"producer", "worker"} {
			s.start("old " + role)
		}
		awaitLedger(t, s, 200)
	}
	client := open(t, g.url)
	for _, role := range []string{"producer", "producer", "producer", "producer", "worker", "worker", "late worker"} {
		s.start(role)
	}
	counts := s.disturb(g, span)
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
	lines := readLedger(t, s.ledger)
	there := jobs(t, client)
	t.Logf("%v; %d jobs, %d facts in the ledger", counts, len(there), len(lines))
	requireNothingLost(t, lines, there)
	requireNoTraceOfFailures(t, lines, there)
	requireALaterStart(t, lines, there)
	requireNoOverlap(t, s, lines)
	for key, err := range client.Keys(t.Context(), onceq.KeyFilter{}) {
		t.Errorf("all jobs have ended and key %s is held by %s (%v)", key.Text, key.Holder, err)
	}
}

// disturb kills processes and brings about faults for a while. It returns
// how many of each.
func (s *stage) disturb(g ground, span time.Duration) map[string]int {
	counts := map[string]int{}
	faults := slices.Sorted(maps.Keys(g.faults))
	begin := time.Now()
	for time.Since(begin) < span {
		time.Sleep(300*time.Millisecond + rand.N(time.Second)) // the rhythm of the faults
		if rand.IntN(6) == 0 && len(faults) > 0 {
			fault := faults[rand.IntN(len(faults))]
			g.faults[fault]()
			counts[fault]++
			continue
		}
		procs := s.all("")
		if rand.IntN(8) > 0 {
			procs = []*proc{procs[rand.IntN(len(procs))]}
		}
		var all sync.WaitGroup
		for _, p := range procs {
			all.Go(p.kill)
		}
		all.Wait()
		for _, p := range procs {
			counts["kills"]++
			if !p.old() || time.Since(begin) < span/3 {
				s.start(p.role)
			}
		}
	}
	for _, role := range []string{"old producer", "old worker"} {
		for _, p := range s.all(role) {
			p.end()
		}
	}
	return counts
}

// settle waits until every job has ended.
func settle(t *testing.T, client *onceq.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for {
		left := 0
		queues, err := client.Queues(ctx)
		if err != nil {
			t.Fatalf("jobs are left over: %v", err)
		}
		for _, q := range queues {
			left += q.Counts[onceq.Scheduled] + q.Counts[onceq.Available] + q.Counts[onceq.Running] +
				q.Counts[onceq.Retryable]
		}
		if left == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond) // polling
	}
}

// requireNothingLost: whatever was acknowledged as a new job is there.
func requireNothingLost(t *testing.T, lines []line, there map[string]*onceq.JobRow) {
	t.Helper()
	outcomes := map[onceq.Outcome]int{}
	for _, l := range lines {
		if l.What != "ack" {
			continue
		}
		outcomes[l.Outcome]++
		if there[l.Job] == nil {
			t.Errorf("job %s was acknowledged (%s) and is not there", l.Job, l.Outcome)
		}
	}
	t.Logf("outcomes: %v", outcomes)
	for _, o := range []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced,
		onceq.Superseded} {
		if outcomes[o] == 0 {
			t.Errorf("no enqueue was %s: the test does not cover it", o)
		}
	}
}

// requireALaterStart: for every receipt under Coalesce but Skipped a run
// starts later than that enqueue, with args as new, unless the job is
// cancelled.
func requireALaterStart(t *testing.T, lines []line, there map[string]*onceq.JobRow) {
	t.Helper()
	returned := map[int64]int64{} // of the enqueue that was called then
	starts := map[string][]line{}
	for _, l := range lines {
		switch l.What {
		case "ack":
			returned[l.Called] = max(returned[l.Called], l.At)
		case "start":
			starts[l.Job] = append(starts[l.Job], l)
		}
	}
	for _, l := range lines {
		if l.What != "ack" || l.Policy != onceq.Coalesce.String() || l.Outcome == onceq.Skipped ||
			there[l.Job] == nil || there[l.Job].State == onceq.Cancelled {
			continue
		}
		if !slices.ContainsFunc(starts[l.Job], func(start line) bool {
			// 0: its producer was killed before it could note
			newer := returned[start.Stamp] == 0 || returned[start.Stamp] >= l.Called
			return start.At > l.Called && newer
		}) {
			t.Errorf("job %s (%s) took a coalesced enqueue (%s) at %d, and no run of it started later with its args "+
				"or newer ones: %+v",
				l.Job, there[l.Job].State, l.Outcome, l.Called, starts[l.Job])
		}
	}
}

// requireNoOverlap: runs of one key that is held until finished do not
// overlap. A killed worker's run ends with its process.
func requireNoOverlap(t *testing.T, s *stage, lines []line) {
	t.Helper()
	type span struct {
		line
		end int64
	}
	ends := map[[2]any]int64{}
	spans := map[int][]span{}
	for _, l := range lines {
		if l.What == "end" {
			ends[[2]any{l.Job, l.Run}] = l.At
		}
	}
	for _, l := range lines {
		if l.What != "start" || l.Key >= plainKeys && l.Key < lateKeys {
			continue
		}
		end, ok := ends[[2]any{l.Job, l.Run}]
		if !ok {
			end = s.died[l.PID].UnixNano()
		}
		spans[l.Key] = append(spans[l.Key], span{l, end})
	}
	runs := 0
	for key, all := range spans {
		slices.SortFunc(all, func(a, b span) int { return int(a.At - b.At) })
		runs += len(all)
		for i := 1; i < len(all); i++ {
			if all[i].At < all[i-1].end {
				t.Errorf("key %d: run %d of %s started %v before run %d of %s had ended", key, all[i].Run, all[i].Job,
					time.Duration(all[i-1].end-all[i].At), all[i-1].Run, all[i-1].Job)
			}
		}
	}
	if runs < 50 {
		t.Errorf("only %d runs: the test proves nothing", runs)
	}
}

// requireNoTraceOfFailures: an enqueue that failed for sure, or was rolled
// back, left nothing behind and never ran.
func requireNoTraceOfFailures(t *testing.T, lines []line, there map[string]*onceq.JobRow) {
	t.Helper()
	failed := map[int64]bool{}
	for _, l := range lines {
		if l.What == "failed" {
			failed[l.Called] = true
		}
	}
	for _, l := range lines {
		if l.What == "start" && failed[l.Stamp] {
			t.Errorf("job %s ran with the args of an enqueue that had failed for sure", l.Job)
		}
	}
	for id, j := range there {
		var args job
		if err := json.Unmarshal(j.Args, &args); err != nil {
			t.Errorf("args of job %s: %v", id, err)
		}
		if failed[args.Stamp] {
			t.Errorf("job %s (%s) has the args of an enqueue that had failed for sure", id, j.State)
		}
	}
	t.Logf("%d enqueues failed for sure", len(failed))
}

package test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// eachStore runs a test on an empty store of each kind.
func eachStore(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "jobs.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, pgtest.Start(t).URL()) })
	t.Run("redis", func(t *testing.T) { test(t, redistest.Start(t, "--appendonly", "yes").URL()) })
}

func open(t *testing.T, url string) *onceq.Client {
	t.Helper()
	store, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func duration(variable string, usual time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(variable)); err == nil {
		return d
	}
	return usual
}

func requireHealthy(t *testing.T, client *onceq.Client) {
	t.Helper()
	report, err := client.Doctor(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Errorf("doctor: %s", v)
	}
}

// jobs returns every job by ID.
func jobs(t *testing.T, client *onceq.Client) map[string]*onceq.JobRow {
	t.Helper()
	all := map[string]*onceq.JobRow{}
	for j, err := range client.Jobs(t.Context(), onceq.JobFilter{Args: true}) {
		if err != nil {
			t.Fatal(err)
		}
		all[j.ID] = j
	}
	return all
}

func Test64CallersOver4ProcessesOnOneKeyGetOneInsertedAndNoError(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		open(t, url) // the schema is there before they race
		s := newStage(t, url)
		var procs []*proc
		for range 4 {
			procs = append(procs, s.start("rivals"))
		}
		for _, p := range procs {
			<-p.done
		}
		inserted, holder := map[int]string{}, map[int]map[string]int{}
		for _, l := range readLedger(t, s.ledger) {
			if l.Outcome == onceq.Inserted {
				if inserted[l.Key] != "" {
					t.Errorf("key %d was inserted twice", l.Key)
				}
				inserted[l.Key] = l.Job
			}
			if holder[l.Key] == nil {
				holder[l.Key] = map[string]int{}
			}
			holder[l.Key][l.Job]++
		}
		for key := range 20 {
			if len(holder[key]) != 1 || holder[key][inserted[key]] != 64 {
				t.Errorf("key %d: 64 callers were told %v, inserted was %q", key, holder[key], inserted[key])
			}
		}
	})
}

func TestAKilledProducerLosesNothingThatWasAcknowledgedAndLeavesNoHalfBatch(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		client := open(t, url)
		s := newStage(t, url)
		for range 8 {
			procs := []*proc{s.start("batches"), s.start("batches")}
			awaitLedger(t, s, countLedger(t, s.ledger)+200)
			for _, p := range procs {
				p.kill()
			}
		}
		there := jobs(t, client)
		acked := map[string]bool{}
		for _, l := range readLedger(t, s.ledger) {
			acked[l.Job] = true
			if there[l.Job] == nil {
				t.Errorf("job %s was acknowledged and is not there", l.Job)
			}
		}
		if len(there)%50 != 0 {
			t.Errorf("%d jobs are there: a batch of 50 was applied in part", len(there))
		}
		if len(acked) < 8*100 {
			t.Fatalf("only %d jobs were acknowledged: the test proves nothing", len(acked))
		}
		requireHealthy(t, client)
	})
}

// awaitLedger waits until the processes have written down so many facts.
func awaitLedger(t *testing.T, s *stage, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); countLedger(t, s.ledger) < n; {
		if time.Now().After(deadline) {
			t.Fatalf("the processes wrote down only %d facts in 30s", countLedger(t, s.ledger))
		}
		time.Sleep(5 * time.Millisecond) // polling a file
	}
}

// TestSoak is two minutes (ONCEQ_SOAK; 15 seconds in the ordinary run) of random policies on ten keys by four producer processes, with
// workers that fail, snooze, hang and are killed, and a kill of everything at once now and then.
func TestSoak(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		client := open(t, url)
		s := newStage(t, url)
		for range 4 {
			s.start("producer")
		}
		for range 3 {
			s.start("worker")
		}
		end := time.Now().Add(duration("ONCEQ_SOAK", 15*time.Second))
		kills := 0
		for time.Now().Before(end) {
			time.Sleep(300*time.Millisecond + rand.N(time.Second)) // the rhythm of the faults
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
				kills++
				s.start(p.role)
			}
		}
		for _, p := range s.all("producer") {
			p.end()
		}
		settle(t, client)
		for _, p := range s.all("worker") {
			p.end()
		}
		requireHealthy(t, client)
		lines := readLedger(t, s.ledger)
		there := jobs(t, client)
		t.Logf("%d kills, %d jobs, %d facts in the ledger", kills, len(there), len(lines))
		requireNothingLost(t, lines, there)
		requireALaterStart(t, lines, there)
		requireNoOverlap(t, s, lines)
		for key, err := range client.Keys(t.Context(), onceq.KeyFilter{}) {
			t.Errorf("all jobs have ended and key %s is held by %s (%v)", key.Text, key.Holder, err)
		}
	})
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
			left += q.Counts[onceq.Scheduled] + q.Counts[onceq.Available] + q.Counts[onceq.Running] + q.Counts[onceq.Retryable]
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
	for _, o := range []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced, onceq.Superseded} {
		if outcomes[o] == 0 {
			t.Errorf("no enqueue was %s: the test does not cover it", o)
		}
	}
}

// requireALaterStart: for every receipt under Coalesce but Skipped a run starts later than that enqueue, with args as new, unless the
// job is cancelled.
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
		if l.What != "ack" || l.Policy != onceq.Coalesce.String() || l.Outcome == onceq.Skipped || there[l.Job] == nil || there[l.Job].State == onceq.Cancelled {
			continue
		}
		if !slices.ContainsFunc(starts[l.Job], func(start line) bool {
			newer := returned[start.Stamp] == 0 || returned[start.Stamp] >= l.Called // 0: its producer was killed before it could note
			return start.At > l.Called && newer
		}) {
			t.Errorf("job %s (%s) took a coalesced enqueue (%s) at %d, and no run of it started later with its args or newer ones: %+v",
				l.Job, there[l.Job].State, l.Outcome, l.Called, starts[l.Job])
		}
	}
}

// requireNoOverlap: runs of one key that is held until finished do not overlap. A killed worker's run ends with its process.
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
		if l.What != "start" || l.Key >= plainKeys {
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

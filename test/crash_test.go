package test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// eachStore runs a test on an empty store of each kind, side by side: its
// processes wait for most of the time.
func eachStore(t *testing.T, test func(t *testing.T, url string)) {
	for name, start := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t).URL() },
		"redis":    func(t *testing.T) string { return redistest.Start(t, "--appendonly", "yes").URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
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

func TestAKilledProducerLosesNothingAndLeavesNoHalfBatch(t *testing.T) {
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

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/onceq/onceq"
)

// demoReport is how the demo ended.
type demoReport struct {
	OK         bool     `json:"ok"`
	Events     int      `json:"events"`
	Offered    int      `json:"offered"`
	Inserted   int      `json:"inserted"`
	Duplicates int      `json:"duplicates"`
	Runs       int      `json:"runs"`      // started
	Completed  int      `json:"completed"` // jobs
	Caught     int      `json:"caught"`    // jobs that the killed worker had
	Rescued    int      `json:"rescued"`   // jobs that ran again after the kill
	Victim     string   `json:"victim"`    // the job during which the worker was killed
	KeysHeld   int      `json:"keys_held"`
	KeysStray  int      `json:"keys_stray"` // held by a job that is gone or has not ended
	Checked    int      `json:"checked"`    // jobs and keys that doctor looked at
	Violations []string `json:"violations"`
	Wrong      []string `json:"wrong"`
	Seconds    float64  `json:"seconds"`
	Store      string   `json:"store"`
}

// judge compares the store with what the processes reported.
func (d *demo) judge(ctx context.Context) (*demoReport, error) {
	total := d.events * demoRounds * demoProducers
	v := &demoReport{Events: d.events, Store: d.a.store, Caught: d.caught, Victim: d.victim, Violations: []string{},
		Wrong: []string{}}
	for _, p := range d.producers {
		v.Offered, v.Inserted, v.Duplicates = v.Offered+p.Offered, v.Inserted+p.Inserted, v.Duplicates+p.Duplicates
	}
	for _, w := range d.workers {
		v.Runs += w.started
	}
	jobs, victimRan := 0, false
	for j, err := range d.store.client.Jobs(ctx, onceq.JobFilter{}) {
		if err != nil {
			return nil, err
		}
		jobs++
		if j.State == onceq.Completed {
			v.Completed++
		}
		if j.Run > 1 {
			v.Rescued++
			victimRan = victimRan || j.ID == d.victim && j.State == onceq.Completed
		}
	}
	for k, err := range d.store.client.Keys(ctx, onceq.KeyFilter{}) {
		if err != nil {
			return nil, err
		}
		v.KeysHeld++
		if k.Gone || !k.State.Finished() {
			v.KeysStray++
		}
	}
	report, err := d.store.client.Doctor(ctx, nil)
	if err != nil {
		return nil, err
	}
	v.Checked = report.Jobs + report.Keys + report.Inert
	for _, found := range report.Violations {
		v.Violations = append(v.Violations, found.String())
	}
	must := func(ok bool, format string, args ...any) {
		if !ok {
			v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
		}
	}
	must(v.Offered == total, "%d events were offered, not %d", v.Offered, total)
	must(v.Inserted == d.events, "%d jobs were inserted for %d events", v.Inserted, d.events)
	must(jobs == d.events, "the store has %d jobs for %d events", jobs, d.events)
	must(v.Duplicates == v.Offered-v.Inserted, "%d of %d repetitions were answered as duplicates", v.Duplicates,
		v.Offered-v.Inserted)
	must(v.Completed == jobs, "%d of %d jobs are completed", v.Completed, jobs)
	must(d.victim != "", "no worker was killed")
	must(d.victim == "" || victimRan, "job %s, in whose middle the worker was killed, was not run again", d.victim)
	must(v.KeysHeld == d.events && v.KeysStray == 0, "%d keys are held, %d of them by a job that is gone or has not "+
		"ended", v.KeysHeld, v.KeysStray)
	must(len(v.Violations) == 0, "doctor found %s, the first: %s", count(len(v.Violations), "violation"),
		first(v.Violations))
	v.OK, v.Seconds = len(v.Wrong) == 0, time.Since(d.began).Round(time.Millisecond).Seconds()
	return v, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (v *demoReport) print(a *app) {
	row := func(name string, n int, what string, args ...any) {
		a.printf("  %-18s %6s  %s\n", name, thousands(n), fmt.Sprintf(what, args...))
	}
	a.printf("\n")
	row("events offered", v.Offered, "%s events, %d times each", thousands(v.Events), v.Offered/max(v.Events, 1))
	row("inserted", v.Inserted, "one job an event")
	row("duplicates", v.Duplicates, "each answered with the job that was there")
	row("runs", v.Runs, "%s jobs completed", thousands(v.Completed))
	caught := fmt.Sprintf("run again elsewhere: kill -9 hit a worker in the middle of %s", count(v.Caught, "job"))
	if more := v.Rescued - v.Caught; more > 0 {
		caught = fmt.Sprintf("run again elsewhere after kill -9: %d in the middle, %d done but not yet on record",
			v.Caught, more)
	}
	row("rescued", v.Rescued, "%s", caught)
	row("keys left held", v.KeysHeld, "each by its finished job, for as long as that is kept (24h): %d by anybody "+
		"else", v.KeysStray)
	row("checked by doctor", v.Checked, "jobs and keys: %s", count(len(v.Violations), "violation"))
	a.printf("\n")
	if v.OK {
		a.printf("%s in %.1fs: every event is one job, every job was run to its end, nothing is held that should be "+
			"free.\n", a.paint(green, "OK"), v.Seconds)
	} else {
		a.printf("%s in %.1fs:\n", a.paint(red, "NOT OK"), v.Seconds)
		for _, w := range v.Wrong {
			a.printf("  %s\n", clean(w))
		}
	}
	a.printf(`
The file is %s. Look into it:

  export ONCEQ_STORE=%s
  onceq jobs --limit 5
  onceq job show %s    # the job in whose middle the worker was killed
  onceq explain event '{"delivery":"evt-0001"}' --fields delivery
  onceq keys --limit 5
  onceq doctor

  rm -r %s    # when you have seen enough
`, v.Store[len("sqlite:"):], v.Store, v.Victim, filepath.Dir(v.Store[len("sqlite:"):]))
}

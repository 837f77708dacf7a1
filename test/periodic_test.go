package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

const schedules = 5

func init() { roles["scheduler"] = schedule }

// schedule serves schedules that tick each second, until it is ended.
func schedule(ctx context.Context, store onceq.Store, _ *ledger) error {
	config := &onceq.WorkerConfig{Lease: 600 * time.Millisecond, PollInterval: 20 * time.Millisecond}
	for i := range schedules {
		config.Periodic = append(config.Periodic, onceq.Periodic{Name: fmt.Sprint("s", i), Schedule: "@every 1s",
			Args: job{Key: i}, CatchUp: onceq.All})
	}
	w, err := onceq.NewWorker(store, config)
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Run(ctx)
}

func TestKilledSchedulersLoseNoTickAndDoubleNone(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		client := open(t, url)
		s := newStage(t, url)
		procs := []*proc{s.start("scheduler"), s.start("scheduler"), s.start("scheduler")}
		ticks := func() (byName map[string]map[int64]int, all int) {
			byName = map[string]map[int64]int{}
			for _, j := range jobs(t, client) {
				name, tick, ok := onceq.Tick(j)
				if !ok {
					t.Fatalf("job %s is of no tick", j.ID)
				}
				if byName[name] == nil {
					byName[name] = map[int64]int{}
				}
				byName[name][tick.Unix()]++
				all++
			}
			return byName, all
		}
		await := func(n int) {
			t.Helper()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // polling a store
				if _, all := ticks(); all >= n {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("there are not %d ticks in a minute", n)
				}
			}
		}
		await(schedules)
		kills := 8
		if os.Getenv("ONCEQ_SOAK") != "" {
			kills = 60
		}
		for range kills {
			_, before := ticks()
			time.Sleep(rand.N(300 * time.Millisecond)) // anywhere in a tick
			i := rand.IntN(len(procs))
			procs[i].kill()
			procs[i] = s.start("scheduler")
			await(before + 1)
		}
		_, before := ticks()
		await(before + 2*schedules)
		for _, p := range procs {
			p.end()
		}
		byName, all := ticks()
		t.Logf("%d ticks", all)
		for i := range schedules {
			name := fmt.Sprint("s", i)
			first, last := int64(1<<62), int64(0)
			for tick, n := range byName[name] {
				first, last = min(first, tick), max(last, tick)
				if n != 1 {
					t.Errorf("the tick %d of %s has %d jobs", tick, name, n)
				}
			}
			if got, want := int64(len(byName[name])), last-first+1; got != want {
				t.Errorf("%s has %d ticks from the first to the last, want %d", name, got, want)
			}
		}
		infos, err := client.Periodics(t.Context())
		if err != nil || len(infos) != schedules {
			t.Errorf("there are %d schedules: %v", len(infos), err)
		}
		requireHealthy(t, client)
	})
}

package storetest

import (
	"os"
	"testing"
)

// long is whether ONCEQ_LONG asks for races and random histories that go on for minutes.
var long = os.Getenv("ONCEQ_LONG") != ""

// scaled is how often a case does what gets no truer by counting: less under the race detector, more where there is time.
func scaled(n int) int {
	switch {
	case long:
		return 5 * n
	case raced:
		return n / 4
	}
	return n
}

// scenario is one case: a sentence about stores, and the steps that show it.
type scenario struct {
	name string
	run  func(w *world)
}

// suite is every case, grouped by noun.
var suite = []struct {
	noun      string
	scenarios []scenario
}{
	{"identity", identity},
	{"holding", holding},
	{"policies", policies},
	{"replace", replacing},
	{"debounce", debouncing},
	{"coalesce", coalescing},
	{"supersede", superseding},
	{"batches", batches},
	{"transactions", transactions},
	{"fetching", fetching},
	{"finishing", finishing},
	{"operators", operators},
	{"leases", leases},
	{"sweeping", sweeping},
	{"listing", listing},
	{"closing", closing},
	{"wakeups", wakeups},
	{"clocks", clocks},
	{"uncertain", uncertain},
	{"races", races},
	{"working", working},
	{"parity_asynq", parityAsynq},
	{"parity_oban", parityOban},
	{"parity_taskiq", parityTaskiq},
	{"parity_chasquimq", parityChasquiMQ},
	{"parity_river", parityRiver},
	{"parity_bullmq", parityBullMQ},
	{"parity_sidekiq_unique_jobs", paritySidekiq},
	{"parity_pg_boss", parityPgBoss},
	{"parity_graphile_worker", parityGraphile},
	{"parity_temporal", parityTemporal},
}

// Run puts a store through the suite. open makes one empty store for one case. After every case all invariants of docs/uniqueness.md
// are checked on the whole store. ONCEQ_LONG=1 makes races and random histories go on for minutes.
func Run(t *testing.T, open func(*testing.T) Harness) {
	for _, group := range suite {
		t.Run(group.noun, func(t *testing.T) {
			t.Parallel()
			for _, s := range group.scenarios {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, open(t))
					defer w.settle()
					s.run(w)
				})
			}
		})
	}
	t.Run("model", func(t *testing.T) { modelled(t, open) })
}

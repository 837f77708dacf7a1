package storetest

import (
	"slices"
	"testing"

	"github.com/onceq/onceq/storetest/internal/effort"
)

// scaled is how often a case repeats something that does not become more
// certain by counting.
var scaled = effort.Scaled

// scenario is one case: a sentence about stores, and the steps that show it.
type scenario struct {
	name string
	run  func(w *world)
}

// chapter is cases of one noun.
type chapter struct {
	noun      string
	scenarios []scenario
}

// Seam are the chapters that a decorator can break: each call, what Traits
// says, transactions, and a client and a worker at work.
var Seam = []string{"batches", "tokens", "transactions", "fetching", "kinds", "finishing", "completing", "operators",
	"moving", "releasing", "leases", "sweeping", "listing", "pages", "workers", "closing", "wakeups", "stops",
	"uncertain", "slips", "unknown", "working"}

// suite is every case, grouped by noun.
var suite = []chapter{
	{"identity", identity},
	{"repeats", repeats},
	{"holding", holding},
	{"policies", policies},
	{"replace", replacing},
	{"extra", extras},
	{"debounce", debouncing},
	{"coalesce", coalescing},
	{"supersede", superseding},
	{"batches", batches},
	{"tokens", tokens},
	{"transactions", transactions},
	{"fetching", fetching},
	{"kinds", kinds},
	{"bounds", bounds},
	{"finishing", finishing},
	{"results", results},
	{"waiting", waiting},
	{"completing", completing},
	{"operators", operators},
	{"starting", starting},
	{"moving", moving},
	{"unknown", unknown},
	{"releasing", releasing},
	{"leases", leases},
	{"sweeping", sweeping},
	{"listing", listing},
	{"pages", pages},
	{"counts", counts},
	{"workers", knownWorkers},
	{"notes", notes},
	{"closing", closing},
	{"wakeups", wakeups},
	{"stops", stops},
	{"clocks", clocks},
	{"uncertain", uncertain},
	{"doubt", doubts},
	{"memory", memory},
	{"truth", truth},
	{"secrets", secrets},
	{"slips", slips},
	{"races", races},
	{"working", working},
	{"remotely", remotely},
	{"periodic", periodic},
	{"guarding", guarding},
	{"limiting", limiting},
	{"limited", limited},
	{"recipes", recipes},
	{"guard_calls", guardCalls},
	{"parity_asynq", parityAsynq},
	{"parity_oban", parityOban},
	{"parity_taskiq", parityTaskiq},
	{"parity_taskiq_guard", parityGuard},
	{"parity_watermill_deduplicator", parityWatermill},
	{"parity_chasquimq", parityChasquiMQ},
	{"parity_river", parityRiver},
	{"parity_bullmq", parityBullMQ},
	{"parity_sidekiq_unique_jobs", paritySidekiq},
	{"parity_pg_boss", parityPgBoss},
	{"parity_graphile_worker", parityGraphile},
	{"parity_temporal", parityTemporal},
}

// Run puts a store through the suite. open makes one empty store for one
// case. After every case all invariants of docs/uniqueness.md are checked
// on the whole store. ONCEQ_LONG=1 makes races go on for minutes. Random
// and concurrent histories are in package model, which needs more than the
// standard library.
//
// Every store, and every copy of a rule, sees all of it. A configuration that
// has no rule of its own, a decorator for instance, may name the chapters that
// it can break; it then sees these alone.
func Run(t *testing.T, open func(*testing.T) Harness, chapters ...string) {
	for _, name := range chapters {
		if !slices.ContainsFunc(suite, func(c chapter) bool { return c.noun == name }) {
			t.Errorf("the suite has no chapter %q", name)
		}
	}
	for _, group := range suite {
		if len(chapters) > 0 && !slices.Contains(chapters, group.noun) {
			continue
		}
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
}

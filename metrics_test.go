package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// gauge is a MeterProvider that a test can read.
type gauge struct {
	t      *testing.T
	reader *metric.ManualReader
	*metric.MeterProvider
}

func newGauge(t *testing.T) gauge {
	reader := metric.NewManualReader()
	return gauge{t, reader, metric.NewMeterProvider(metric.WithReader(reader))}
}

func (g gauge) metrics() []metricdata.Metrics {
	g.t.Helper()
	var got metricdata.ResourceMetrics
	if err := g.reader.Collect(g.t.Context(), &got); err != nil {
		g.t.Fatal(err)
	}
	var all []metricdata.Metrics
	for _, scope := range got.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	return all
}

// sums are the points of a metric that are not zero, by their labels; of a
// histogram the sums.
func (g gauge) sums(name string) map[string]float64 {
	g.t.Helper()
	sums := map[string]float64{}
	set := func(labels attribute.Set, value float64) {
		if value != 0 {
			sums[labels.Encoded(attribute.DefaultEncoder())] = value
		}
	}
	for _, m := range g.metrics() {
		if m.Name != name {
			continue
		}
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				set(p.Attributes, float64(p.Value))
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				set(p.Attributes, p.Sum)
			}
		case metricdata.Histogram[int64]:
			for _, p := range data.DataPoints {
				set(p.Attributes, float64(p.Sum))
			}
		default:
			g.t.Fatalf("%s is a %T", name, data)
		}
	}
	return sums
}

func (g gauge) wants(name string, want map[string]float64) {
	g.t.Helper()
	if got := g.sums(name); !maps.Equal(got, want) {
		g.t.Errorf("%s is\n %v, want\n %v", name, got, want)
	}
}

func TestEnqueuesAreCountedAndAsDuplicatesThoseWithoutAJob(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		client := clientOf(t, b.store, &onceq.Config{MeterProvider: g})
		b.serve(onceq.WorkerConfig{}, func(context.Context, *onceq.Job[mail]) error {
			time.Sleep(10 * time.Second)
			return nil
		})
		put := func(to string, opts ...onceq.Option) {
			receipt, err := client.Enqueue(t.Context(), mail{to}, append(opts, onceq.Unique{})...)
			if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
				t.Fatal(err)
			}
			if receipt.Outcome == onceq.Inserted {
				synctest.Wait()
			}
		}
		later := onceq.Delay(time.Hour)
		put("a")
		put("a")
		put("a", onceq.OnConflict(onceq.Reject))
		put("a", onceq.OnConflict(onceq.Coalesce))
		put("a", onceq.OnConflict(onceq.Coalesce))
		put("b", later)
		put("b", later, onceq.OnConflict(onceq.Replace{RunAt: true}))
		put("b", later, onceq.OnConflict(onceq.Supersede))
		_, err := client.EnqueueMany(t.Context(), []onceq.Item{
			onceq.NewItem(mail{"c"}, onceq.Unique{}, later, onceq.Queue("slow")),
			onceq.NewItem(mail{"c"}, onceq.Unique{}, later, onceq.Queue("slow"))})
		if err != nil {
			t.Fatal(err)
		}
		of := func(outcome, queue string) string { return "kind=mail,outcome=" + outcome + ",queue=" + queue }
		g.wants("onceq.enqueues", map[string]float64{
			of("inserted", "default"): 2, of("skipped", "default"): 1, of("rejected", "default"): 1,
			of("coalesced", "default"): 1, of("replaced", "default"): 2, of("superseded", "default"): 1,
			of("inserted", "slow"): 1, of("skipped", "slow"): 1})
		g.wants("onceq.duplicates", map[string]float64{
			of("skipped", "default"): 1, of("rejected", "default"): 1, of("replaced", "default"): 2,
			of("skipped", "slow"): 1})
		g.wants("onceq.batch.rows", map[string]float64{"": 8 + 1}) // equal keys of a batch are sent once
	})
}

func TestRunsAreCountedAndTimedByWhatBecameOfTheJob(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		stop := b.serve(onceq.WorkerConfig{MeterProvider: g,
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}, ServePeriodic: true,
			Retry: func(*onceq.JobRow, error) time.Duration { return time.Hour }},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				time.Sleep(2 * time.Second)
				switch job.Args.To {
				case "nobody":
					return onceq.Discard(nil)
				case "later":
					return onceq.Snooze(time.Hour)
				case "fails":
					return errDown
				}
				return nil
			})
		g.wants("onceq.worker.slots", map[string]float64{"queue=default,use=free": 1})
		for _, to := range []string{"ada", "nobody", "later", "fails", "bob"} {
			b.enqueue(mail{to}) // the last waits for four others
		}
		pass(time.Second)
		g.wants("onceq.worker.slots", map[string]float64{"queue=default,use=busy": 1})
		pass(20 * time.Second)
		of := func(state string) string { return "kind=mail,queue=default,state=" + state }
		g.wants("onceq.runs", map[string]float64{of("completed"): 2, of("discarded"): 1, of("scheduled"): 1,
			of("retryable"): 1})
		g.wants("onceq.run.duration", map[string]float64{of("completed"): 4, of("discarded"): 2, of("scheduled"): 2,
			of("retryable"): 2})
		g.wants("onceq.run.wait", map[string]float64{of("completed"): 0 + 8, of("discarded"): 2, of("scheduled"): 4,
			of("retryable"): 6})
		clean(t, stop)
		g.wants("onceq.worker.slots", map[string]float64{})
	})
}

func TestSlotsOfWorkersOfOneProcessAddUp(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		for range 2 {
			b.serve(onceq.WorkerConfig{MeterProvider: g}, fine)
		}
		g.wants("onceq.worker.slots", map[string]float64{"queue=default,use=free": 20})
	})
}

func TestRescuesAreCountedAsRunsToo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		b.enqueue(mail{"last"}, onceq.MaxAttempts(1))
		b.enqueue(mail{"first"})
		b.deadWorker("died", 30*time.Second, 2)
		b.serve(onceq.WorkerConfig{MeterProvider: g,
			Retry: func(*onceq.JobRow, error) time.Duration { return time.Hour }}, fine)
		pass(5 * time.Minute)
		g.wants("onceq.rescues", map[string]float64{"kind=mail,queue=default": 2})
		g.wants("onceq.runs", map[string]float64{"kind=mail,queue=default,state=discarded": 1,
			"kind=mail,queue=default,state=retryable": 1})
	})
}

func TestALostLeaseIsCountedOnceForEachRun(t *testing.T) {
	lost := map[string]float64{"kind=mail,queue=default": 2}
	two := func(b *bubble) {
		b.enqueue(mail{"a"})
		b.enqueue(mail{"b"})
		synctest.Wait()
	}
	t.Run("the store is away while handlers run", func(t *testing.T) {
		inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
			g := newGauge(t)
			b.serve(onceq.WorkerConfig{MeterProvider: g}, func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Run == 1 {
					<-ctx.Done()
				}
				return ctx.Err()
			})
			two(b)
			store.from(always(failsUnsent, "extend", "fetch", "finish", "sweep"))
			pass(time.Minute)
			store.heal()
			pass(time.Minute)
			g.wants("onceq.leases.lost", lost)
			g.wants("onceq.runs", map[string]float64{"kind=mail,queue=default,state=completed": 2})
			g.wants("onceq.handbacks", map[string]float64{"": 2}) // by the first heartbeat that arrives
		})
	})
	t.Run("the store is away while results wait", func(t *testing.T) {
		inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
			g := newGauge(t)
			b.serve(onceq.WorkerConfig{MeterProvider: g}, func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Run == 1 {
					time.Sleep(time.Second)
				}
				return ctx.Err()
			})
			two(b)
			store.from(always(failsUnsent, "extend", "fetch", "finish", "sweep"))
			pass(time.Minute)
			store.heal()
			pass(time.Minute)
			g.wants("onceq.leases.lost", lost)
			g.wants("onceq.runs", map[string]float64{"kind=mail,queue=default,state=completed": 2})
		})
	})
	t.Run("results are on their way when the lease ends", func(t *testing.T) {
		inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
			g := newGauge(t)
			b.serve(onceq.WorkerConfig{MeterProvider: g}, func(ctx context.Context, job *onceq.Job[mail]) error {
				time.Sleep(time.Second)
				return nil
			})
			two(b)
			store.from(func(op string) fault {
				if op == "finish" {
					return failsLate // each takes ten seconds
				}
				return failsUnsent
			})
			pass(time.Minute)
			g.wants("onceq.leases.lost", lost)
			g.wants("onceq.runs", map[string]float64{})
			store.heal()
		})
	})
	t.Run("another worker has taken over", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			g := newGauge(t)
			b.serve(onceq.WorkerConfig{MeterProvider: g}, func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "a" {
					<-ctx.Done() // a heartbeat tells; for the other, the answer to its result
				} else {
					time.Sleep(time.Second)
				}
				return nil
			})
			two(b)
			for job := range b.client.Jobs(t.Context(), onceq.JobFilter{States: []onceq.State{onceq.Running}}) {
				if _, err := b.store.Finish(t.Context(), onceq.FinishRequest{Runs: []onceq.Finish{{ID: job.ID,
					Run: job.Run, Worker: "rescuer", Rescue: true, State: onceq.Discarded}}}); err != nil {
					t.Fatal(err)
				}
			}
			pass(time.Minute)
			g.wants("onceq.leases.lost", lost)
			g.wants("onceq.runs", map[string]float64{})
		})
	})
}

func TestHandBacksOfAShutdownAreCounted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		stop := b.serve(onceq.WorkerConfig{MeterProvider: g, ShutdownTimeout: time.Second},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "deaf" {
					time.Sleep(time.Hour)
				}
				<-ctx.Done()
				return ctx.Err()
			})
		for _, to := range []string{"a", "b", "deaf"} {
			b.enqueue(mail{to})
		}
		synctest.Wait()
		if err := stop(); err == nil {
			t.Error("Run says nothing of a handler that did not return")
		}
		g.wants("onceq.handbacks", map[string]float64{"": 3}) // of the last one, the leave
		g.wants("onceq.runs", map[string]float64{"kind=mail,queue=default,state=scheduled": 2})
		pass(time.Hour)
	})
}

func TestWhatIsSentAgainIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := newGauge(t), newFlaky()
		client := clientOf(t, store, &onceq.Config{MeterProvider: g})
		store.fates(failsUnheard, failsUnsent, goesWell)
		if _, err := client.Enqueue(t.Context(), mail{"a"}); err != nil {
			t.Fatal(err)
		}
		store.fates(failsUnheard, goesWell)
		if _, err := client.EnqueueMany(t.Context(), twoMails); err != nil {
			t.Fatal(err)
		}
		g.wants("onceq.resends", map[string]float64{"": 3})
		g.wants("onceq.batch.rows", map[string]float64{"": 3*1 + 2*2})
		g.wants("onceq.enqueues", map[string]float64{"kind=mail,outcome=inserted,queue=default": 3})
	})
}

// Case 63 of the design.
func TestAFloodOfKindsDoesNotGrowTheMetrics(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		const kinds = 250
		g := newGauge(t)
		client := clientOf(t, b.store, &onceq.Config{MeterProvider: g})
		w := b.worker(onceq.WorkerConfig{MeterProvider: g, Client: client})
		w.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
		b.start(w)
		for i := range kinds {
			if _, err := client.Enqueue(t.Context(), onceq.JSON(fmt.Sprint("kind", i), []byte("1"))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for name, others := range map[string]string{
			"onceq.enqueues": "kind=(other),outcome=inserted,queue=(other)",
			"onceq.runs":     "kind=(other),queue=(other),state=completed",
		} {
			sums := g.sums(name)
			if others := sums[others]; len(sums) != 201 || others != kinds-200 {
				t.Errorf("%s has %d series, %v under (other)", name, len(sums), others)
			}
		}
	})
}

func TestACounterBeginsWithZeroSoThatItsFirstStepIsSeen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		client := clientOf(t, b.store, &onceq.Config{MeterProvider: g})
		b.serve(onceq.WorkerConfig{MeterProvider: g, Client: client}, fine)
		if _, err := client.Enqueue(t.Context(), mail{"a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		points := map[string]int{}
		for _, m := range g.metrics() {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
				points[m.Name] = len(sum.DataPoints)
			}
		}
		want := map[string]int{"onceq.enqueues": 6, "onceq.duplicates": 3, "onceq.runs": 5, "onceq.rescues": 1,
			"onceq.leases.lost": 1, "onceq.handbacks": 1, "onceq.resends": 1, "onceq.worker.slots": 2}
		if !maps.Equal(points, want) {
			t.Errorf("there are\n %v, want\n %v", points, want)
		}
	})
}

// A row of docs/metrics.md: | `name` | `prometheus` | kind | unit | labels | …
var metricRow = regexp.MustCompile("(?m)^\\| `(onceq\\.[^`]+)` \\| `([^`]+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\|")

func TestThePageOfMetricsListsWhatThereIs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		g := newGauge(t)
		var err error
		if b.store, err = onceq.MeasureStore(memstore.New(nil), g); err != nil {
			t.Fatal(err)
		}
		client := clientOf(t, b.store, &onceq.Config{MeterProvider: g})
		b.serve(onceq.WorkerConfig{MeterProvider: g, Client: client}, fine)
		if _, err := client.Enqueue(t.Context(), mail{"a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []string
		for _, m := range g.metrics() {
			kind, labels := "", map[string]bool{}
			note := func(set attribute.Set) {
				for _, at := range set.ToSlice() {
					labels[string(at.Key)] = true
				}
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if kind = "gauge"; data.IsMonotonic {
					kind = "counter"
				}
				for _, p := range data.DataPoints {
					note(p.Attributes)
				}
			case metricdata.Histogram[float64]:
				kind = "histogram"
				for _, p := range data.DataPoints {
					note(p.Attributes)
				}
			case metricdata.Histogram[int64]:
				kind = "histogram"
			}
			got = append(got, strings.Join([]string{m.Name, kind, m.Unit,
				strings.Join(slices.Sorted(maps.Keys(labels)), ",")}, " "))
		}
		page, err := os.ReadFile("docs/metrics.md")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
			labels := strings.FieldsFunc(row[5], func(r rune) bool { return strings.ContainsRune("`, –", r) })
			slices.Sort(labels)
			want = append(want, strings.Join([]string{row[1], row[3], strings.Trim(row[4], "`"),
				strings.Join(labels, ",")}, " "))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the code has\n%s\nand the page\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

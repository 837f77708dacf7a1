package onceq

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope is the name of this library for OpenTelemetry.
const scope = "github.com/onceq/onceq"

func meterOf(provider metric.MeterProvider) metric.Meter {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	return provider.Meter(scope, metric.WithInstrumentationVersion(version()))
}

// metrics are the instruments of a client and of a worker; docs/metrics.md
// lists them. Each is asked first whether somebody wants it: without a
// provider that is all it costs. A provider that panics stops nothing.
type metrics struct {
	meter  metric.Meter
	labels *labels

	enqueues, duplicates, resends metric.Int64Counter
	batchRows                     metric.Int64Histogram

	runs, rescues, lost, handBacks metric.Int64Counter
	runDuration, runWait           metric.Float64Histogram
	slots                          metric.Int64ObservableUpDownCounter
}

func newMetrics(provider metric.MeterProvider, l *labels) (*metrics, error) {
	m := &metrics{meter: meterOf(provider), labels: l}
	for _, c := range []struct {
		counter          *metric.Int64Counter
		name, unit, what string
	}{
		{&m.enqueues, "onceq.enqueues", "{enqueue}", "Enqueues that were answered, by outcome."},
		{&m.duplicates, "onceq.duplicates", "{enqueue}", "Enqueues for which no job was made, by outcome."},
		{&m.resends, "onceq.resends", "{resend}", "Calls that were sent again because their answer was lost."},
		{&m.runs, "onceq.runs", "{run}", "Runs that ended, by what became of the job."},
		{&m.rescues, "onceq.rescues", "{run}", "Runs of lost workers that were ended in their place."},
		{&m.lost, "onceq.leases.lost", "{run}", "Runs whose worker no longer had its lease."},
		{&m.handBacks, "onceq.handbacks", "{run}", "Runs that were handed back: the attempt is not spent."},
	} {
		var err error
		if *c.counter, err = m.meter.Int64Counter(c.name, metric.WithUnit(c.unit),
			metric.WithDescription(c.what)); err != nil {
			return nil, err
		}
	}
	for _, h := range []struct {
		histogram  *metric.Float64Histogram
		name, what string
	}{
		{&m.runDuration, "onceq.run.duration", "How long handlers took, by what became of the job."},
		{&m.runWait, "onceq.run.wait", "How long jobs waited from when they were due until they started."},
	} {
		var err error
		if *h.histogram, err = m.meter.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.what),
			metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300,
				600, 1800, 3600)); err != nil {
			return nil, err
		}
	}
	var err error
	if m.batchRows, err = m.meter.Int64Histogram("onceq.batch.rows", metric.WithUnit("{row}"),
		metric.WithDescription("Enqueues that travelled to the store in one call."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)); err != nil {
		return nil, err
	}
	m.slots, err = m.meter.Int64ObservableUpDownCounter("onceq.worker.slots", metric.WithUnit("{slot}"),
		metric.WithDescription("Slots of the workers that run, by whether a handler has them."))
	return m, err
}

// enqueued counts an enqueue that was answered.
func (m *metrics) enqueued(ctx context.Context, row *NewRow, r Receipt) {
	defer contain("MeterProvider")
	enqueues, duplicates := m.enqueues.Enabled(ctx), r.Duplicate() && m.duplicates.Enabled(ctx)
	if !enqueues && !duplicates || isReserved(row.Queue, row.Kind) {
		return
	}
	set := m.labels.of(row.Queue, row.Kind)
	if set.firstEnqueue() {
		for outcome, with := range set.outcomes {
			m.enqueues.Add(ctx, 0, with)
			if (Receipt{Outcome: outcome}).Duplicate() {
				m.duplicates.Add(ctx, 0, with)
			}
		}
		m.resends.Add(ctx, 0)
	}
	with, known := set.outcomes[r.Outcome]
	if !known {
		return
	}
	if enqueues {
		m.enqueues.Add(ctx, 1, with)
	}
	if duplicates {
		m.duplicates.Add(ctx, 1, with)
	}
}

// batch counts the rows of one call to the store.
func (m *metrics) batch(ctx context.Context, rows int) {
	defer contain("MeterProvider")
	if m.batchRows.Enabled(ctx) {
		m.batchRows.Record(ctx, int64(rows))
	}
}

// resent counts a call that is sent again.
func (m *metrics) resent(ctx context.Context) {
	defer contain("MeterProvider")
	if m.resends.Enabled(ctx) {
		m.resends.Add(ctx, 1)
	}
}

// timesRuns reports whether runs must be timed.
func (m *metrics) timesRuns() (yes bool) {
	defer contain("MeterProvider")
	return m.runDuration.Enabled(context.Background())
}

// ended counts runs whose results the store has taken.
func (m *metrics) ended(runs []*run) {
	if len(runs) == 0 {
		return
	}
	defer contain("MeterProvider")
	ctx := context.Background()
	count, took, wait := m.runs.Enabled(ctx), m.runDuration.Enabled(ctx), m.runWait.Enabled(ctx)
	if !count && !took && !wait {
		return
	}
	back := int64(0)
	for _, r := range runs {
		if r.handedBack {
			back++
		}
		job := &r.job
		if isReserved(job.Queue, job.Kind) {
			continue
		}
		with := m.ofRun(ctx, job).of(r.state)
		if count {
			m.runs.Add(ctx, 1, with)
		}
		if took && r.took > 0 {
			m.runDuration.Record(ctx, r.took.Seconds(), with)
		}
		if wait && !job.StartedAt.IsZero() && !job.RunAt.IsZero() {
			m.runWait.Record(ctx, max(0, job.StartedAt.Sub(job.RunAt).Seconds()), with)
		}
	}
	m.handBacks.Add(ctx, back)
}

// rescued counts a run that was ended in the place of a lost worker.
func (m *metrics) rescued(job *JobRow, state State) {
	defer contain("MeterProvider")
	ctx := context.Background()
	if isReserved(job.Queue, job.Kind) || !m.runs.Enabled(ctx) && !m.rescues.Enabled(ctx) {
		return
	}
	set := m.ofRun(ctx, job)
	m.runs.Add(ctx, 1, set.of(state))
	m.rescues.Add(ctx, 1, set.pair)
}

// leaseLost counts runs that are no longer their worker's.
func (m *metrics) leaseLost(runs []*run) {
	defer contain("MeterProvider")
	ctx := context.Background()
	if len(runs) == 0 || !m.lost.Enabled(ctx) {
		return
	}
	for _, r := range runs {
		if !isReserved(r.job.Queue, r.job.Kind) {
			m.lost.Add(ctx, 1, m.ofRun(ctx, &r.job).pair)
		}
	}
}

// handedBack counts jobs that a heartbeat handed back. Of these only the
// number is known.
func (m *metrics) handedBack(jobs int) {
	defer contain("MeterProvider")
	if ctx := context.Background(); m.handBacks.Enabled(ctx) {
		m.handBacks.Add(ctx, int64(jobs))
	}
}

// ofRun returns the labels of a job that ran. When they are new, all their
// counters begin with zero: the rate of a counter that appears with one is
// zero.
func (m *metrics) ofRun(ctx context.Context, job *JobRow) *labelled {
	set := m.labels.of(job.Queue, job.Kind)
	if set.firstRun() {
		for _, with := range set.states {
			m.runs.Add(ctx, 0, with)
		}
		m.rescues.Add(ctx, 0, set.pair)
		m.lost.Add(ctx, 0, set.pair)
	}
	return set
}

// use is how many slots of a queue are taken and free.
type use struct {
	queue      string
	busy, free int
}

// observeSlots shows the slots of a worker until stop is called.
func (m *metrics) observeSlots(read func() []use) (stop func()) {
	defer contain("MeterProvider")
	stop = func() {}
	registration, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		defer contain("MeterProvider")
		sums := map[string]use{}
		for _, u := range read() {
			if _, known := sums[u.queue]; !known && len(sums) >= maxPairs {
				u.queue = otherLabel
			}
			sum := sums[u.queue]
			sums[u.queue] = use{u.queue, sum.busy + u.busy, sum.free + u.free}
		}
		for queue, u := range sums {
			for what, n := range map[string]int{"busy": u.busy, "free": u.free} {
				o.ObserveInt64(m.slots, int64(n), metric.WithAttributes(
					attribute.String("queue", queue), attribute.String("use", what)))
			}
		}
		return nil
	}, m.slots)
	if err != nil {
		return stop
	}
	return func() {
		defer contain("MeterProvider")
		_ = registration.Unregister() // the provider may be shut down
	}
}

// The labels of metrics are bounded: each combination is kept for as long as
// the process lives.
const (
	maxPairs   = 200 // of queue and kind
	otherLabel = "(other)"
)

// labels are the combinations of queue and kind that were seen, the first
// maxPairs of them by name. A client and its workers share them.
type labels struct {
	mu    sync.RWMutex
	pairs map[[2]string]*labelled
	other *labelled
}

func newLabels() *labels {
	return &labels{pairs: map[[2]string]*labelled{}, other: newLabelled(otherLabel, otherLabel)}
}

// labelled is a queue and a kind as labels of metrics.
type labelled struct {
	pair     metric.MeasurementOption
	outcomes map[Outcome]metric.MeasurementOption
	states   map[State]metric.MeasurementOption

	enqueue, run sync.Once
}

func newLabelled(queue, kind string) *labelled {
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(more,
			attribute.String("queue", queue), attribute.String("kind", kind))...))
	}
	l := &labelled{pair: with(), outcomes: map[Outcome]metric.MeasurementOption{},
		states: map[State]metric.MeasurementOption{}}
	for _, o := range []Outcome{Inserted, Skipped, Rejected, Replaced, Coalesced, Superseded} {
		l.outcomes[o] = with(attribute.String("outcome", string(o)))
	}
	for _, s := range []State{Completed, Discarded, Cancelled, Retryable, Scheduled} {
		l.states[s] = with(attribute.String("state", string(s)))
	}
	return l
}

// of adds the state that a run left. Waiting is one state here: whether a
// snooze is over is a matter of the moment.
func (l *labelled) of(state State) metric.MeasurementOption {
	if with, ok := l.states[state]; ok {
		return with
	}
	return l.states[Scheduled]
}

// firstEnqueue and firstRun are true once.
func (l *labelled) firstEnqueue() (first bool) { l.enqueue.Do(func() { first = true }); return first }
func (l *labelled) firstRun() (first bool)     { l.run.Do(func() { first = true }); return first }

func (l *labels) of(queue, kind string) *labelled {
	pair := [2]string{queue, kind}
	l.mu.RLock()
	set, full := l.pairs[pair], len(l.pairs) >= maxPairs
	l.mu.RUnlock()
	switch {
	case set != nil:
		return set
	case full:
		return l.other
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if set = l.pairs[pair]; set == nil {
		if len(l.pairs) >= maxPairs {
			return l.other
		}
		set = newLabelled(queue, kind)
		l.pairs[pair] = set
	}
	return set
}

// timed is how long a handler took; zero if nobody wants to know.
type timed struct {
	began time.Time
	took  time.Duration
}

func (t *timed) end() {
	if !t.began.IsZero() {
		t.took = max(time.Since(t.began), 1)
	}
}

package main

import (
	"cmp"
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
)

const (
	looksFor     = 5 * time.Second // all scrapes of so long share one look at the store
	lookTakes    = 2 * time.Second // at most; then there are no numbers
	mostQueues   = 200             // that are told apart
	others       = "(other)"       // what stands for the rest
	metricsScope = "github.com/onceq/onceq/cmd/onceq"
)

// serveMetrics are the metrics of onceq serve: of its requests, and of what is
// in the store at the time of a scrape.
type serveMetrics struct {
	requests, failed metric.Int64Counter
	took             metric.Float64Histogram

	mu      sync.Mutex // one looks at a time
	at      time.Time
	queues  []onceq.QueueInfo
	workers map[string]int64 // by late: "true" or "false"; nil = the last look failed
	now     time.Time        // of the store
}

func newServeMetrics(provider metric.MeterProvider) (m *serveMetrics, err error) {
	m = &serveMetrics{}
	meter := provider.Meter(metricsScope)
	if m.requests, err = meter.Int64Counter("onceq.http.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that were answered.")); err != nil {
		return nil, err
	}
	if m.failed, err = meter.Int64Counter("onceq.look.errors", metric.WithUnit("{look}"),
		metric.WithDescription("Looks at the store for a scrape that failed or took too long.")); err != nil {
		return nil, err
	}
	m.failed.Add(context.Background(), 0)
	m.took, err = meter.Float64Histogram("onceq.http.duration", metric.WithUnit("s"),
		metric.WithDescription("How long requests took. A fetch waits for jobs, and a stream goes on."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60))
	return m, err
}

// answered counts a request.
func (m *serveMetrics) answered(a dashboard.Answer) {
	route := attribute.String("route", cmp.Or(a.Route, others))
	method := attribute.String("method", cmp.Or(a.Method, others))
	ctx := context.Background()
	m.requests.Add(ctx, 1, metric.WithAttributes(route, method, attribute.Int("code", a.Status)))
	m.took.Record(ctx, a.Took.Seconds(), metric.WithAttributes(route, method))
}

// observe shows what is now, at each scrape.
func (m *serveMetrics) observe(provider metric.MeterProvider, client *onceq.Client, d *dashboard.Dashboard) error {
	meter := provider.Meter(metricsScope)
	var all []metric.Observable
	var failed error
	gauge := func(name, unit, what string) metric.Int64Observable {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		failed, all = cmp.Or(failed, err), append(all, g)
		return g
	}
	jobs := gauge("onceq.queue.jobs", "{job}", "Jobs by state, counted up to 1,000.")
	paused := gauge("onceq.queue.paused", "{queue}", "Whether a queue is paused: 1 or 0.")
	workers := gauge("onceq.workers", "{worker}", "Workers that the store knows, by whether their lease is over.")
	polls := gauge("onceq.http.polls", "{request}", "Fetches that wait for jobs now.")
	streams := gauge("onceq.http.streams", "{stream}", "Streams of events that are open now.")
	age, err := meter.Float64ObservableGauge("onceq.queue.oldest_due.age", metric.WithUnit("s"),
		metric.WithDescription("For how long the oldest job that waits has been due; 0 = none is."))
	if failed = cmp.Or(failed, err); failed != nil {
		return failed
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		o.ObserveInt64(polls, int64(d.Polls()))
		o.ObserveInt64(streams, int64(d.Streams()))
		queues, late, now := m.look(ctx, client)
		for late, n := range late {
			o.ObserveInt64(workers, n, metric.WithAttributes(attribute.String("late", late)))
		}
		for _, q := range queues {
			queue := attribute.String("queue", q.Name)
			for _, state := range onceq.States() {
				o.ObserveInt64(jobs, int64(q.Counts[state]), metric.WithAttributes(queue,
					attribute.String("state", string(state))))
			}
			n, waits := int64(0), 0.0
			if q.Paused {
				n = 1
			}
			if !q.OldestDue.IsZero() {
				waits = max(0, now.Sub(q.OldestDue).Seconds())
			}
			o.ObserveInt64(paused, n, metric.WithAttributes(queue))
			o.ObserveFloat64(age, waits, metric.WithAttributes(queue))
		}
		return nil
	}, append(all, age)...)
	return err
}

// look looks at the store, or returns what another scrape saw just now.
func (m *serveMetrics) look(ctx context.Context, client *onceq.Client) ([]onceq.QueueInfo, map[string]int64,
	time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.at.IsZero() && time.Since(m.at) < looksFor {
		return m.queues, m.workers, m.now
	}
	ctx, cancel := context.WithTimeout(ctx, lookTakes)
	defer cancel()
	queues, err := client.QueuesUpTo(ctx, 1000)
	var workers []onceq.WorkerInfo
	if err == nil {
		workers, err = client.Workers(ctx)
	}
	m.at, m.queues, m.workers, m.now = time.Now(), nil, nil, queues.Now
	if err != nil {
		m.failed.Add(context.WithoutCancel(ctx), 1)
		return nil, nil, m.now
	}
	m.workers = map[string]int64{"true": 0, "false": 0}
	for i := range workers {
		if workers[i].Late {
			m.workers["true"]++
		} else {
			m.workers["false"]++
		}
	}
	m.queues = fewQueues(queues.Queues)
	return m.queues, m.workers, m.now
}

// fewQueues adds up those that are not told apart.
func fewQueues(all []onceq.QueueInfo) []onceq.QueueInfo {
	if len(all) <= mostQueues {
		return all
	}
	rest := onceq.QueueInfo{Name: others, Counts: map[onceq.State]int{}}
	for _, q := range all[mostQueues:] {
		for state, n := range q.Counts {
			rest.Counts[state] += n
		}
		if !q.OldestDue.IsZero() && (rest.OldestDue.IsZero() || q.OldestDue.Before(rest.OldestDue)) {
			rest.OldestDue = q.OldestDue
		}
		rest.Paused = rest.Paused || q.Paused
	}
	return append(all[:mostQueues:mostQueues], rest)
}

// measuredDashboard makes a Dashboard that is measured.
func measuredDashboard(client *onceq.Client, config *dashboard.Config,
	provider metric.MeterProvider) (*dashboard.Dashboard, error) {
	m, err := newServeMetrics(provider)
	if err != nil {
		return nil, err
	}
	config.Answered = m.answered
	d, err := dashboard.New(client, config)
	if err != nil {
		return nil, err
	}
	return d, m.observe(provider, client, d)
}

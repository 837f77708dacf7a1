package onceq

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// MeasureStore returns a store that measures every call to another: the
// histogram "onceq.store.duration", in seconds, with the attributes op (the
// method: "enqueue", "fetch", …) and result ("ok", "error", or "uncertain"
// where the answer was lost). nil provider = the global one.
//
// It is also an example of a decorator: it embeds the store, and what it
// does not name stays as it is. Transactions come from the store inside.
func MeasureStore(store Store, provider metric.MeterProvider) (Store, error) {
	durations, err := meterOf(provider).Float64Histogram("onceq.store.duration",
		metric.WithDescription("Calls to the store, by method and result."), metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, err
	}
	return &measured{store, durations}, nil
}

type measured struct {
	Store
	durations metric.Float64Histogram
}

// measure makes one call. If the store panics, the step may or may not have
// happened.
func measure[Q, A any](ctx context.Context, m *measured, op string, request Q,
	call func(context.Context, Q) (A, error)) (answer A, err error) {
	err = ErrUncertain
	defer m.record(ctx, op, time.Now(), &err)
	return call(ctx, request)
}

func (m *measured) record(ctx context.Context, op string, began time.Time, err *error) {
	defer contain("MeterProvider")
	if ctx == nil || !m.durations.Enabled(ctx) {
		return
	}
	result := "ok"
	switch {
	case errors.Is(*err, ErrUncertain):
		result = "uncertain"
	case *err != nil:
		result = "error"
	}
	m.durations.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(
		attribute.String("op", op), attribute.String("result", result))))
}

func (m *measured) Enqueue(ctx context.Context, r EnqueueRequest) ([]EnqueueResult, error) {
	return measure(ctx, m, "enqueue", r, m.Store.Enqueue)
}

func (m *measured) Fetch(ctx context.Context, r FetchRequest) (Fetched, error) {
	return measure(ctx, m, "fetch", r, m.Store.Fetch)
}

func (m *measured) Extend(ctx context.Context, r ExtendRequest) (Extended, error) {
	return measure(ctx, m, "extend", r, m.Store.Extend)
}

func (m *measured) Finish(ctx context.Context, r FinishRequest) ([]FinishResult, error) {
	return measure(ctx, m, "finish", r, m.Store.Finish)
}

func (m *measured) Change(ctx context.Context, c Change) ([]ChangeResult, error) {
	return measure(ctx, m, "change", c, m.Store.Change)
}

func (m *measured) Get(ctx context.Context, ids []string) ([]*JobRow, error) {
	return measure(ctx, m, "get", ids, m.Store.Get)
}

func (m *measured) List(ctx context.Context, r ListRequest) (JobPage, error) {
	return measure(ctx, m, "list", r, m.Store.List)
}

func (m *measured) Keys(ctx context.Context, r KeysRequest) (KeyPage, error) {
	return measure(ctx, m, "keys", r, m.Store.Keys)
}

func (m *measured) Queues(ctx context.Context, r QueuesRequest) (QueueList, error) {
	return measure(ctx, m, "queues", r, func(ctx context.Context, r QueuesRequest) (QueueList, error) {
		return m.Store.Queues(ctx, r)
	})
}

func (m *measured) Workers(ctx context.Context) ([]WorkerInfo, error) {
	return measure(ctx, m, "workers", struct{}{}, func(ctx context.Context, _ struct{}) ([]WorkerInfo, error) {
		return m.Store.Workers(ctx)
	})
}

func (m *measured) Note(ctx context.Context, n Notes) error {
	_, err := measure(ctx, m, "note", n, func(ctx context.Context, n Notes) (struct{}, error) {
		return struct{}{}, m.Store.Note(ctx, n)
	})
	return err
}

func (m *measured) Stats(ctx context.Context, r StatsRequest) (Stats, error) {
	return measure(ctx, m, "stats", r, m.Store.Stats)
}

func (m *measured) Sweep(ctx context.Context, r SweepRequest) (Swept, error) {
	return measure(ctx, m, "sweep", r, m.Store.Sweep)
}

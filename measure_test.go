package onceq_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// durations reads how often onceq.store.duration was recorded, by its
// attributes.
func durations(t *testing.T, reader *metric.ManualReader) map[string]uint64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "onceq.store.duration" || m.Unit != "s" {
				continue
			}
			for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
				counts[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Count
			}
		}
	}
	return counts
}

// TestEveryMethodOfAStoreIsMeasured calls each method that takes a context.
// Whoever adds one to the interface finds out here.
func TestEveryMethodOfAStoreIsMeasured(t *testing.T) {
	reader := metric.NewManualReader()
	store, err := onceq.MeasureStore(memstore.New(nil), metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	methods := reflect.TypeFor[onceq.Store]()
	for i := range methods.NumMethod() {
		method := methods.Method(i)
		if method.Type.NumIn() == 0 || method.Type.In(0) != reflect.TypeFor[context.Context]() {
			continue
		}
		want = append(want, strings.ToLower(method.Name))
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for n := 1; n < method.Type.NumIn(); n++ {
			args = append(args, reflect.Zero(method.Type.In(n)))
		}
		reflect.ValueOf(store).MethodByName(method.Name).Call(args)
	}
	var got []string
	for attributes := range durations(t, reader) {
		op, _, _ := strings.Cut(strings.TrimPrefix(attributes, "op="), ",")
		got = append(got, op)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("measured are %v, and the methods are %v", got, want)
	}
}

// answering is a store whose lists have one answer.
type answering struct {
	onceq.Store
	err   error
	panic bool
}

func (a answering) List(context.Context, onceq.ListRequest) (onceq.JobPage, error) {
	if a.panic {
		panic("the store is broken")
	}
	return onceq.JobPage{}, a.err
}

func TestACallIsMeasuredByItsResult(t *testing.T) {
	for _, c := range []struct {
		result string
		inner  answering
	}{
		{"ok", answering{}},
		{"error", answering{err: errors.New("full")}},
		{"error", answering{err: onceq.ErrClosed}},
		{"uncertain", answering{err: &onceq.UncertainError{}}},
		{"uncertain", answering{panic: true}},
	} {
		reader := metric.NewManualReader()
		store, err := onceq.MeasureStore(c.inner, metric.NewMeterProvider(metric.WithReader(reader)))
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); (p != nil) != c.inner.panic {
					t.Errorf("panicked with %v", p)
				}
			}()
			if _, err := store.List(t.Context(), onceq.ListRequest{}); err != c.inner.err {
				t.Errorf("the error is %v, want %v", err, c.inner.err)
			}
		}()
		want := map[string]uint64{"op=list,result=" + c.result: 1}
		if got := durations(t, reader); !maps.Equal(got, want) {
			t.Errorf("recorded %v, want %v", got, want)
		}
	}
}

// A store that cannot be measured works all the same.
func TestAMeterThatPanicsDoesNotStopACall(t *testing.T) {
	store, err := onceq.MeasureStore(memstore.New(nil), brokenProvider{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Queues(t.Context(), onceq.QueuesRequest{}); err != nil {
		t.Error(err)
	}
}

type brokenProvider struct{ embedded.MeterProvider }

func (brokenProvider) Meter(string, ...api.MeterOption) api.Meter { return brokenMeter{} }

type brokenMeter struct{ noop.Meter }

func (brokenMeter) Float64Histogram(string, ...api.Float64HistogramOption) (api.Float64Histogram, error) {
	return brokenHistogram{}, nil
}

type brokenHistogram struct{ noop.Float64Histogram }

func (brokenHistogram) Enabled(context.Context) bool { return true }

func (brokenHistogram) Record(context.Context, float64, ...api.RecordOption) { panic("no room") }

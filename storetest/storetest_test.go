package storetest_test

import (
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

// standClock is a clock that stands still at an instant, or runs.
type standClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *standClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

func (c *standClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Now()
	}
	return c.at
}

func openMemory(*testing.T) storetest.Harness {
	c := &standClock{}
	return storetest.Harness{Store: memstore.New(c.now), SetClock: c.set}
}

func TestMemstore(t *testing.T) { storetest.Run(t, openMemory) }

func TestMemstoreBehindADecorator(t *testing.T) {
	storetest.Run(t, storetest.Decorated(openMemory), storetest.Seam...)
}

// measured is a decorator of our own that does something.
func measured(s onceq.Store) onceq.Store {
	m, err := onceq.MeasureStore(s, metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	if err != nil {
		panic(err)
	}
	return m
}

func TestMemstoreThatIsMeasured(t *testing.T) {
	storetest.Run(t, storetest.Decorated(openMemory, measured), storetest.Seam...)
}

func TestModelOfMemstore(t *testing.T) { model.Run(t, openMemory) }

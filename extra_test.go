package onceq

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestABackoffOfTheJobsOwnDecidesInPlaceOfTheWorkers(t *testing.T) {
	t.Parallel()
	worker := func(*JobRow, error) time.Duration { return 42 * time.Hour }
	b := Backoff{Initial: time.Minute, Max: 10 * time.Minute, Factor: 3}
	own, err := extra{Backoff: b.stored()}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		extra   []byte
		attempt int
		longest time.Duration
	}{
		{own, 1, time.Minute}, {own, 2, 3 * time.Minute}, {own, 3, 9 * time.Minute}, {own, 4, 10 * time.Minute},
		{own, math.MaxInt32, 10 * time.Minute}, {own, 0, time.Minute},
		{nil, 1, 42 * time.Hour}, {[]byte("{}"), 1, 42 * time.Hour}, {[]byte("not ours"), 1, 42 * time.Hour},
		{[]byte(`{"backoff":{"initial_ms":-5,"max_ms":1,"factor":0}}`), 1, 42 * time.Hour},
		{[]byte(`{"later":1}`), 1, 42 * time.Hour},
	} {
		job := &JobRow{Attempt: c.attempt, MaxAttempts: math.MaxInt, Extra: c.extra}
		d := decide(job, errors.New("x"), nil, (&WorkerConfig{Retry: worker}).retryOf(job)).Delay
		if d > c.longest || d < c.longest*9/10 {
			t.Errorf("%s after attempt %d: %v, want %v less a tenth at most", c.extra, c.attempt, d, c.longest)
		}
	}
}

func TestABackoffIsRefusedWhereItMakesNoSense(t *testing.T) {
	t.Parallel()
	for field, b := range map[string]Backoff{
		"Backoff.Initial": {Max: time.Hour},
		"Backoff.Max":     {Initial: time.Hour, Max: time.Minute},
		"Backoff.Factor":  {Initial: time.Second, Factor: 0.5},
	} {
		var refused *InvalidError
		if err := b.check(); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%+v: %v, want %s refused", b, err, field)
		}
	}
	for _, b := range []Backoff{{Initial: 1, Factor: 2}, {Initial: -time.Hour},
		{Initial: time.Second, Factor: math.NaN()}, {Initial: time.Second, Factor: math.Inf(1)}, {Factor: 2}} {
		if b.check() == nil {
			t.Errorf("%+v is accepted", b)
		}
	}
	b := Backoff{Initial: 48 * time.Hour}
	if err := b.check(); err != nil || b.Max != 48*time.Hour || b.Factor != 2 {
		t.Errorf("%+v, %v", b, err)
	}
}

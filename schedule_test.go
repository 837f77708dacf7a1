package onceq_test

import (
	"errors"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestNextTicksAreThoseLaterThanFrom(t *testing.T) {
	noon := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := onceq.NextTicks("30 2 * * *", newYork, noon, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"03-08T03:00", "03-09T02:30", "03-10T02:30"} {
		if got := ticks[i].Format("01-02T15:04"); got != want {
			t.Errorf("tick %d is %s, want %s", i, got, want)
		}
	}
	if ticks, err = onceq.NextTicks("@hourly", nil, noon, 1); err != nil || !ticks[0].Equal(noon.Add(time.Hour)) ||
		ticks[0].Location() != time.UTC {
		t.Errorf("without a zone: %v, %v", ticks, err)
	}
	if ticks, err = onceq.NextTicks("@hourly", nil, noon, 0); err != nil || len(ticks) != 0 {
		t.Errorf("no tick: %v, %v", ticks, err)
	}
}

func TestNextTicksRefusesAScheduleByItsName(t *testing.T) {
	for schedule, field := range map[string]string{"0 0 31 2 *": "schedule", "@daily": "n"} {
		_, err := onceq.NextTicks(schedule, nil, time.Now(), -1)
		if e := (*onceq.InvalidError)(nil); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%q: %v", schedule, err)
		}
	}
}

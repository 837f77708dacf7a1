package onceq

import (
	"errors"
	"time"

	"github.com/onceq/onceq/internal/cron"
)

// NextTicks returns the first n ticks of a schedule later than from, in loc;
// nil = UTC. It asks no store. A refused schedule is an [*InvalidError].
//
// A schedule is five fields (minute, hour, day of month, month, day of week),
// one of @hourly, @daily, @weekly, @monthly and @yearly, or "@every 90s".
// docs/periodic.md has the rules, and what happens where clocks are put
// forward or back.
func NextTicks(schedule string, loc *time.Location, from time.Time, n int) ([]time.Time, error) {
	s, err := parseSchedule(schedule)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > mostTicks {
		return nil, invalid("n", n, "must be 0 to %d", mostTicks)
	}
	if loc == nil {
		loc = time.UTC
	}
	ticks := make([]time.Time, 0, n)
	for range n {
		if from = s.Next(from, loc); from.IsZero() {
			break // there are no more in a hundred years
		}
		ticks = append(ticks, from)
	}
	return ticks, nil
}

const mostTicks = 10_000

func parseSchedule(text string) (*cron.Schedule, error) {
	s, err := cron.Parse(text)
	if refused := (*cron.Error)(nil); errors.As(err, &refused) {
		return nil, invalid("schedule", refused.Schedule, "%s", refused.Rule)
	}
	return s, err
}

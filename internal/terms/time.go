package terms

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

func parseString(s string) (string, error) { return s, nil }

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, errors.New("must be a whole number")
	}
	return n, nil
}

// ParseDuration reads durations as Go writes them, with days (d) and weeks
// (w) in front: 90s, 1h30m, 7d, 1w2d12h.
func ParseDuration(s string) (time.Duration, error) {
	bad := errors.New("must be a length of time such as 90s, 10m, 1h30m or 7d")
	rest, sum := s, time.Duration(0)
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		digits, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || int64(n) > math.MaxInt64/int64(unit.d)-1 {
			return 0, bad
		}
		sum, rest = sum+time.Duration(n)*unit.d, after
	}
	if rest == "" && s != "" {
		return sum, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-sum {
		return 0, bad
	}
	return sum + d, nil
}

func parseUntil(s string) (onceq.Until, error) {
	until, err := onceq.ParseUntil(s)
	var invalid *onceq.InvalidError
	if errors.As(err, &invalid) {
		err = errors.New(invalid.Rule) // the flag and the value are said already
	}
	return until, err
}

func parseTTL(s string) (time.Duration, error) {
	if s == "forever" {
		return onceq.Forever, nil
	}
	return ParseDuration(s)
}

// ParseTime reads RFC 3339, and local times without a zone.
func ParseTime(s string) (time.Time, error) { return parseTimeIn(s, time.Local) }

func parseTimeIn(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04",
		"2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return onTheClock(t, zone)
		}
	}
	return time.Time{}, errors.New(
		`must be a time such as 2026-12-24T18:00:00+01:00, or "2026-12-24 18:00" in the local zone`)
}

// onTheClock is the first instant at which the clocks of a zone show this
// date and time.
func onTheClock(wall time.Time, zone *time.Location) (first time.Time, err error) {
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // before and after the clocks change
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if t.Format(time.DateTime) == wall.Format(time.DateTime) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() {
		where := zone.String()
		if zone == time.Local {
			where = "the local zone"
		}
		err = fmt.Errorf("does not exist in %v: the clocks are put forward then; say it with its offset, as in "+
			"2026-12-24T18:00:00+01:00", where)
	}
	return first, err
}

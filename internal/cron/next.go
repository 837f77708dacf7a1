package cron

import (
	"math"
	"math/bits"
	"time"
)

// Instants are seconds since the Unix epoch. The time that a clock on the
// wall shows is a number too: that of the instant at which a clock of UTC
// shows it.
const (
	minute = 60
	day    = 24 * 60 * minute

	// farthest is more than any clock of the world is ahead of UTC, or behind.
	farthest = 2 * day

	// horizon is how far Next looks. The 29th of February falls on each day of
	// the week once in 40 years.
	horizon = 100 * 366 * day
)

// Next returns the first tick later than after, in loc. It is zero if there
// is none in a hundred years, which no time zone of the world is known to
// bring about.
func (s *Schedule) Next(after time.Time, loc *time.Location) time.Time {
	now := after.Unix()
	var tick int64
	var ok bool
	switch {
	case s.every > 0:
		tick, ok = now+s.every-mod(now, s.every), true
	case s.elapsed:
		tick, ok = s.nextElapsed(now, loc)
	default:
		tick, ok = s.nextOfCalendar(now, loc)
	}
	if !ok {
		return time.Time{}
	}
	return time.Unix(tick, 0).In(loc)
}

// nextElapsed keeps rule 3: it looks for listed times in one period after
// the other.
func (s *Schedule) nextElapsed(now int64, loc *time.Location) (tick int64, ok bool) {
	for at := now + 1; at < now+horizon; {
		p := periodAt(at, loc)
		if tick = s.nextListed(at+p.offset) - p.offset; tick < p.end {
			return tick, true
		}
		at = p.end
	}
	return 0, false
}

// nextOfCalendar keeps rules 4 and 5. A time has its tick when the clock
// reaches it, be it by going on or by a jump; times that the clock has
// reached have had theirs, even if it shows them again.
func (s *Schedule) nextOfCalendar(now int64, loc *time.Location) (tick int64, ok bool) {
	today := periodAt(now, loc)
	from := today.reached(now, loc) + 1
	for limit := from + horizon; from < limit; {
		listed := s.nextListed(from)
		tick, shows := today.reaches(listed, loc)
		if shows == listed {
			return tick, true
		}
		tomorrow := listed - mod(listed, day) + day
		if _, shows = today.reaches(tomorrow-day, loc); shows < tomorrow {
			return tick, true
		}
		from = tomorrow // the clock never shows that date
	}
	return 0, false
}

// period is a time in which the clock of a time zone goes on evenly. The
// next one may go on just as this one.
type period struct{ start, end, offset int64 } // offset: what the clock shows beyond UTC

func periodAt(at int64, loc *time.Location) period {
	t := time.Unix(at, 0).In(loc)
	_, offset := t.Zone()
	p := period{start: math.MinInt64, end: math.MaxInt64, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		p.start = start.Unix()
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= at { // for Go each year has 365 days here: on 31 December 2028 its end has passed
		p.end = at - mod(at, day) + day
	}
	return p
}

// reached returns the latest time that the clock has shown until now, which
// is in the period.
func (p period) reached(now int64, loc *time.Location) int64 {
	latest := now + p.offset
	for p.start > now-farthest {
		before := p.start - 1
		p = periodAt(before, loc)
		latest = max(latest, before+p.offset)
	}
	return latest
}

// reaches returns the first instant from the period on at which the clock
// shows wall or later, and what it shows then.
func (p period) reaches(wall int64, loc *time.Location) (at, shows int64) {
	if wall-p.offset >= p.end {
		p = periodAt(max(p.end, wall-farthest), loc)
	}
	for wall-p.offset >= p.end {
		p = periodAt(p.end, loc)
	}
	at = max(p.start, wall-p.offset)
	return at, at + p.offset
}

// nextListed returns the first time that is listed, from wall on. It knows
// no time zone.
func (s *Schedule) nextListed(wall int64) int64 {
	wall += mod(-wall, minute)
	date, clock := wall-mod(wall, day), mod(wall, day)
	if s.nextDate(date) == date {
		if clock = s.nextClock(clock); clock < day {
			return date + clock
		}
	}
	return s.nextDate(date+day) + s.nextClock(0)
}

// nextClock returns the first listed time of a day from clock on; a day or
// more = there is none.
func (s *Schedule) nextClock(clock int64) int64 {
	h, m := int(clock/minute/60), int(clock/minute%60)
	if s.hours>>h&1 != 0 {
		if m = next(s.minutes, m); m < 60 {
			return int64(h*60+m) * minute
		}
	}
	return int64(next(s.hours, h+1)*60+next(s.minutes, 0)) * minute
}

// nextDate returns the midnight of the first listed day, from one on. If it
// finds none, it returns one beyond the horizon.
func (s *Schedule) nextDate(date int64) int64 {
	y, m, d := time.Unix(date, 0).UTC().Date()
	for range horizon / day / 30 {
		if s.months>>m&1 != 0 {
			first := time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
			if d = next(s.daysIn(m, isLeap(y), first.Weekday()), d); d <= 31 {
				return first.Unix() + int64(d-1)*day
			}
		}
		if m, d = m+1, 1; m > time.December {
			y, m = y+1, time.January
		}
	}
	return date + 2*horizon
}

// daysIn returns the listed days of a month that begins on a day of the
// week, as a set.
func (s *Schedule) daysIn(month time.Month, leap bool, first time.Weekday) uint64 {
	week := s.weekdays>>first | s.weekdays<<(7-first) // bit 0 = the day of the week of the 1st
	week &= 1<<7 - 1
	onWeekdays := (week | week<<7 | week<<14 | week<<21 | week<<28) << 1
	listed := s.days & onWeekdays
	if s.either {
		listed = s.days | onWeekdays
	}
	return listed & daysUpTo(lengthOf(month, leap))
}

// daysUpTo is the set of the days 1 to n.
func daysUpTo(n int) uint64 { return 1<<(n+1) - 2 }

func lengthOf(month time.Month, leap bool) int {
	switch month {
	case time.February:
		if leap {
			return 29
		}
		return 28
	case time.April, time.June, time.September, time.November:
		return 30
	}
	return 31
}

func isLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// next returns the first member of a set from n on; 64 or more = there is
// none.
func next(set uint64, n int) int { return n + bits.TrailingZeros64(set>>n) }

// mod is what is left of a divided by b, never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

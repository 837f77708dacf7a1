// Package phrase has the words in which the command and the pages say the same
// things to people.
package phrase

import (
	"strconv"
	"time"

	"github.com/onceq/onceq"
)

// Away writes how far an instant is from now: "3s ago", "in 2h".
func Away(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d <= -time.Millisecond:
		return Span(-d) + " ago"
	case d >= time.Millisecond:
		return "in " + Span(d)
	}
	return "now"
}

// Span writes a length of time in one or two units.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	}
	return two(d, day, "d", time.Hour, "h")
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	s := strconv.FormatInt(int64(d/big), 10) + bigName
	if rest := d % big / small; rest > 0 && d/big < 10 {
		s += strconv.FormatInt(int64(rest), 10) + smallName
	}
	return s
}

// Thousands writes 12345 as 12,345.
func Thousands[T ~int | ~int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count writes "1 job", "12 jobs".
func Count[T ~int | ~int64](n T, what string) string {
	if n != 1 {
		what += "s"
	}
	return Thousands(n) + " " + what
}

// Hold says how long a job holds its key.
func Hold(h onceq.Hold) string {
	text := "held until " + h.Until.String()
	if h.Until == onceq.UntilWindowEnds {
		text = "held for a window of " + Span(h.Window)
	} else if h.Window > 0 {
		text += ", at least " + Span(h.Window)
	}
	if h.TTL > 0 {
		text += ", at most " + Span(h.TTL)
	}
	if h.FromEnqueue {
		text += ", from the enqueue on"
	}
	return text
}

// Origin says whose place a job was accepted behind or in.
func Origin(j *onceq.JobRow) string {
	if j.Origin == onceq.Superseded {
		return "superseded job " + j.Displaced
	}
	return "coalesced: accepted behind job " + j.Displaced
}

package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is a schedule that was parsed. It never changes.
type Schedule struct {
	// Bit n of a set says that n is listed.
	minutes, hours, days, months, weekdays uint64

	either  bool  // a listed day of the month, or a listed day of the week: one of them is enough
	elapsed bool  // ticks follow elapsed time, not the calendar (rule 3, not 4)
	every   int64 // seconds from tick to tick; then the fields above are empty
}

// Error is a schedule that was refused.
type Error struct {
	Schedule string // as it was given
	Rule     string // what it must be, and the way out
}

func (e *Error) Error() string { return fmt.Sprintf("schedule %q %s", e.Schedule, e.Rule) }

var named = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

const longestEvery = 10 * 366 * 24 * time.Hour

// Parse reads a schedule. Large and small letters are the same. Any error is
// an [*Error].
func Parse(text string) (*Schedule, error) {
	s := &Schedule{}
	if rule := s.parse(strings.ToLower(strings.TrimSpace(text))); rule != "" {
		return nil, &Error{Schedule: text, Rule: rule}
	}
	return s, nil
}

// parse returns the rule that the text breaks, or "".
func (s *Schedule) parse(text string) string {
	if strings.HasPrefix(text, "tz=") || strings.HasPrefix(text, "cron_tz=") {
		return "must not name a time zone: say it in Location, or with --zone"
	}
	if strings.HasPrefix(text, "@") {
		if duration, ok := strings.CutPrefix(text, "@every"); ok {
			return s.parseEvery(strings.TrimSpace(duration))
		}
		fields, ok := named[text]
		switch {
		case text == "@reboot":
			return "must not be @reboot, because a fleet has no one start: enqueue the job where the program starts"
		case !ok:
			return "is no name of a schedule: the names are @hourly, @daily, @weekly, @monthly, @yearly and @every 90s"
		}
		text = fields
	}
	return s.parseFields(strings.Fields(text))
}

func (s *Schedule) parseEvery(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > longestEvery || d%time.Second != 0 {
		return fmt.Sprintf("must have whole seconds after @every, from 1s to %dh, such as 90s or 1h30m",
			longestEvery/time.Hour)
	}
	s.every = int64(d / time.Second)
	return ""
}

// field is one of the five: its name, the values it can have, and the names
// of those from low on.
type field struct {
	name      string
	low, high int
	names     []string
}

var fields = [5]field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

const sunday = 7 // the other number of Sunday, which is bit 0 of weekdays

func (s *Schedule) parseFields(texts []string) string {
	switch n := len(texts); {
	case n == 6 || n == 7:
		return fmt.Sprintf("must have five fields (minute, hour, day of month, month, day of week), not %d: "+
			"leave away the seconds and the year; for seconds say @every 30s", n)
	case n != 5:
		return fmt.Sprintf("must have five fields (minute, hour, day of month, month, day of week), not %d", n)
	}
	for i, set := range []*uint64{&s.minutes, &s.hours, &s.days, &s.months, &s.weekdays} {
		for item := range strings.SplitSeq(texts[i], ",") {
			values, rule := fields[i].parse(item)
			if rule != "" {
				return rule
			}
			*set |= values
		}
	}
	s.weekdays = (s.weekdays | s.weekdays>>sunday) &^ (1 << sunday)
	s.elapsed = strings.HasPrefix(texts[1], "*")
	s.either = !strings.HasPrefix(texts[2], "*") && !strings.HasPrefix(texts[4], "*")
	if !s.either && !s.comes() {
		return "names a date that never comes: no listed month has such a day"
	}
	return ""
}

// comes reports whether a listed month has a listed day.
func (s *Schedule) comes() bool {
	for month := time.January; month <= time.December; month++ {
		if s.months>>month&1 != 0 && s.days&daysUpTo(lengthOf(month, true)) != 0 {
			return true
		}
	}
	return false
}

// parse reads one item of a field: *, a value or a range, with or without a
// step. It returns the values as a set, or the rule that the item breaks.
func (f *field) parse(item string) (set uint64, rule string) {
	values, stepText, stepped := strings.Cut(item, "/")
	from, to := f.low, f.high
	if values != "*" {
		first, last, ranged := strings.Cut(values, "-")
		if from, rule = f.value(first); rule != "" {
			return 0, rule
		}
		if ranged {
			if to, rule = f.value(last); rule != "" {
				return 0, rule
			}
			if f.high == sunday && to == 0 && from > 0 {
				to = sunday // as in sat-sun
			}
		} else if !stepped {
			to = from
		}
	}
	if from > to {
		return 0, fmt.Sprintf("must not have the %s %s, which runs backwards: write %d-%d,%d-%d",
			f.name, values, from, f.high, f.low, to)
	}
	step := 1
	if stepped {
		if step = number(stepText); step < 1 || step > to {
			return 0, fmt.Sprintf("must have a step from 1 to %d in the %s, not /%s", to, f.name, stepText)
		}
	}
	for v := from; v <= to; v += step {
		set |= 1 << v
	}
	return set, ""
}

// value reads a number or a name.
func (f *field) value(text string) (n int, rule string) {
	for i, name := range f.names {
		if text == name {
			return f.low + i, ""
		}
	}
	if n = number(text); n >= f.low && n <= f.high {
		return n, ""
	}
	if way := wayOut(text); way != "" {
		return 0, fmt.Sprintf("must not have %q in the %s: %s", text, f.name, way)
	}
	rule = fmt.Sprintf("must have numbers from %d to %d in the %s", f.low, f.high, f.name)
	if f.names != nil {
		rule += fmt.Sprintf(" (or %s to %s)", f.names[0], f.names[len(f.names)-1])
	}
	return 0, fmt.Sprintf("%s, not %q", rule, text)
}

// wayOut says what to write for signs that other programs know.
func wayOut(text string) string {
	sign := strings.Trim(text, "0123456789")
	switch {
	case strings.Contains(text, "?"):
		return "write *"
	case sign == "l", sign == "lw", len(text) == len("fril") && strings.HasSuffix(text, "l"):
		return "say the first day of the next month, or list the last days and let the handler look at the date"
	case sign == "w":
		return "list the days, and let the handler look at the date"
	case strings.Contains(text, "#"):
		return "for the second Monday list the days 8-14, and let the handler look at the day of the week"
	case sign == "h", sign == "r", strings.Contains(text, "~"):
		return "say a number, and Jitter to spread jobs"
	}
	return ""
}

// number is the value of decimal digits, or -1.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

package cron

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // every host knows the same time zones
)

//go:embed testdata/zones.txt
var zoneNames string

func allZones(t testing.TB) []*time.Location {
	var zones []*time.Location
	for name := range strings.FieldsSeq(zoneNames) {
		zones = append(zones, zone(t, name))
	}
	return zones
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// diary is what a clock on the wall showed at each minute of some days. The
// oracle knows a time zone from its diary alone. It counts everything in
// minutes since the diary begins; what the clock showed is counted as if it
// were UTC.
type diary struct {
	start time.Time // a full minute
	shown []int     // what the clock showed at each minute
	first []int     // by what it showed, from the day before the diary on: when it did so first, or never
	gaps  []gap
}

// gap: times from <= t < to were left out at an instant.
type gap struct{ from, to, at int }

const never = -1

// margin is left out of what is compared at both ends of a diary.
const margin = 2 * 24 * 60

func keepDiary(loc *time.Location, start time.Time, days int) *diary {
	d := &diary{start: start.UTC(), shown: make([]int, days*24*60), first: make([]int, (days+2)*24*60)}
	for i := range d.first {
		d.first[i] = never
	}
	for i := range d.shown {
		at := time.Unix(start.Unix()+int64(i)*60, 0).In(loc)
		_, offset := at.Zone()
		d.shown[i] = i + offset/60
		if first := &d.first[d.shown[i]+24*60]; *first == never {
			*first = i
		}
		if i > 0 && d.shown[i] > d.shown[i-1]+1 {
			d.gaps = append(d.gaps, gap{from: d.shown[i-1] + 1, to: d.shown[i], at: i})
		}
	}
	return d
}

// wall is a time that the clock shows, with all its fields.
func (d *diary) wall(shown int) time.Time { return d.start.Add(time.Duration(shown) * time.Minute) }

// ticks applies the rules 2 to 5 literally. Where the diary begins and ends
// they may be wrong: see margin.
func (d *diary) ticks(schedule string) []int {
	if every, ok := strings.CutPrefix(schedule, "@every "); ok {
		return d.ticksEvery(every)
	}
	f := strings.Fields(schedule)
	var minutes, hours [60]bool
	for v := range minutes {
		minutes[v], hours[v] = listed(f[0], 0, 59, v), listed(f[1], 0, 23, v)
	}
	dates := map[int]bool{} // by midnight: is it listed
	date := func(midnight int) bool {
		yes, known := dates[midnight]
		if !known {
			yes = dateListed(f, d.wall(midnight))
			dates[midnight] = yes
		}
		return yes
	}
	midnightOf := func(shown int) int { return shown - d.wall(shown).Hour()*60 - d.wall(shown).Minute() }
	ticks := map[int]bool{}
	if strings.HasPrefix(f[1], "*") { // rule 3
		for at, shown := range d.shown {
			w := d.wall(shown)
			if minutes[w.Minute()] && hours[w.Hour()] && date(midnightOf(shown)) {
				ticks[at] = true
			}
		}
		return sorted(ticks)
	}
	for midnight := midnightOf(0); midnight < len(d.shown); midnight += 24 * 60 { // rule 4
		from := max(midnight+24*60, 0)
		to := min(from+24*60, len(d.first))
		exists := from < to && slices.ContainsFunc(d.first[from:to], func(at int) bool { return at != never })
		if !exists || !date(midnight) {
			continue // rule 5
		}
		for i := from; i < to; i++ {
			shown := i - 24*60
			w := d.wall(shown)
			if !minutes[w.Minute()] || !hours[w.Hour()] {
				continue
			}
			if at := d.first[i]; at != never {
				ticks[at] = true
			}
			for _, g := range d.gaps {
				if g.from <= shown && shown < g.to && d.first[i] == never {
					ticks[g.at] = true
				}
			}
		}
	}
	return sorted(ticks)
}

func (d *diary) ticksEvery(text string) (ticks []int) {
	every, err := time.ParseDuration(text)
	if err != nil || every%time.Minute != 0 {
		panic("the oracle knows full minutes only: " + text)
	}
	for at := range d.shown {
		if (d.start.Unix()/60+int64(at))%int64(every/time.Minute) == 0 {
			ticks = append(ticks, at)
		}
	}
	return ticks
}

// between are the ticks that can be trusted, as instants.
func (d *diary) between(ticks []int) (instants []time.Time) {
	for _, at := range ticks {
		if at > margin && at <= len(d.shown)-margin {
			instants = append(instants, d.start.Add(time.Duration(at)*time.Minute))
		}
	}
	return instants
}

// check compares Next with the oracle over the diary.
func (d *diary) check(t *testing.T, schedule string, loc *time.Location) bool {
	t.Helper()
	s, err := Parse(schedule)
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Time
	last := d.start.Add(time.Duration(len(d.shown)-margin) * time.Minute)
	for at := d.start.Add(margin * time.Minute); ; {
		next := s.Next(at, loc)
		if !next.After(at) {
			t.Fatalf("%s in %s: the next after %v is %v", schedule, loc, at, next)
		}
		if next.After(last) {
			break
		}
		got = append(got, next)
		at = next
	}
	want := d.between(d.ticks(schedule))
	for i := range max(len(got), len(want)) {
		switch {
		case i == len(got), i < len(want) && want[i].Before(got[i]):
			t.Errorf("%q in %s: the tick at %v is missing", schedule, loc, want[i].In(loc))
			return false
		case i == len(want), got[i].Before(want[i]):
			t.Errorf("%q in %s: the tick at %v is one too many", schedule, loc, got[i])
			return false
		}
	}
	return true
}

func sorted(set map[int]bool) []int {
	all := make([]int, 0, len(set))
	for at := range set {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}

// dateListed applies rule 2.
func dateListed(f []string, w time.Time) bool {
	days := listed(f[2], 1, 31, w.Day())
	weekdays := listed(f[4], 0, 7, int(w.Weekday())) || w.Weekday() == time.Sunday && listed(f[4], 0, 7, 7)
	if !listed(f[3], 1, 12, int(w.Month())) {
		return false
	}
	if f[2][0] != '*' && f[4][0] != '*' {
		return days || weekdays
	}
	return days && weekdays
}

// listed reads a field of numbers anew for each value, with none of the code
// that it tests.
func listed(field string, low, high, v int) bool {
	return slices.ContainsFunc(strings.Split(field, ","), func(item string) bool {
		values, stepText, stepped := strings.Cut(item, "/")
		from, to, step := low, high, 1
		if stepped {
			step, _ = strconv.Atoi(stepText)
		}
		if values != "*" {
			a, b, ranged := strings.Cut(values, "-")
			from, _ = strconv.Atoi(a)
			switch {
			case ranged:
				to, _ = strconv.Atoi(b)
			case !stepped:
				to = from
			}
		}
		return from <= v && v <= to && (v-from)%step == 0
	})
}

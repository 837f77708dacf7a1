package cron

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTicksWhereClocksJump: each row is an edge at which a library of the
// field skips a tick, doubles it, or hangs.
func TestTicksWhereClocksJump(t *testing.T) {
	for _, c := range []struct {
		name, schedule, zone, after string // after and want are local times with their offset
		want                        string
	}{
		{"half past two runs at three on the day of the gap",
			"30 2 * * *", "America/New_York", "2026-03-07T12:00-05:00",
			"2026-03-08T03:00-04:00 2026-03-09T02:30-04:00"},
		{"hourly ticks leave the gap out",
			"15 * * * *", "America/New_York", "2026-03-08T00:30-05:00",
			"2026-03-08T01:15-05:00 2026-03-08T03:15-04:00 2026-03-08T04:15-04:00"},
		{"half past one runs once on the long day",
			"30 1 * * *", "America/New_York", "2026-10-31T12:00-04:00",
			"2026-11-01T01:30-04:00 2026-11-02T01:30-05:00"},
		{"it ran already when the hour comes again",
			"30 1 * * *", "America/New_York", "2026-11-01T01:10-05:00",
			"2026-11-02T01:30-05:00"},
		{"hourly runs in both of the hours",
			"0 * * * *", "America/New_York", "2026-11-01T00:30-04:00",
			"2026-11-01T01:00-04:00 2026-11-01T01:00-05:00 2026-11-01T02:00-05:00"},
		{"a fixed hour that comes twice has its ticks once",
			"*/30 1 * * *", "America/New_York", "2026-11-01T00:30-04:00",
			"2026-11-01T01:00-04:00 2026-11-01T01:30-04:00 2026-11-02T01:00-05:00"},
		{"several ticks in a gap become one",
			"*/10 2 * * *", "America/New_York", "2026-03-08T00:00-05:00",
			"2026-03-08T03:00-04:00 2026-03-09T02:00-04:00"},
		{"a tick in the gap and one at its end become one",
			"0 1-3 * * *", "America/New_York", "2026-03-08T00:00-05:00",
			"2026-03-08T01:00-05:00 2026-03-08T03:00-04:00 2026-03-09T01:00-04:00"},
		{"every two hours over the long day",
			"0 */2 * * *", "America/New_York", "2026-10-31T23:00-04:00",
			"2026-11-01T00:00-04:00 2026-11-01T02:00-05:00 2026-11-01T04:00-05:00"},
		{"a gap of half an hour",
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30",
			"2026-10-04T02:30+11:00 2026-10-05T02:15+11:00"},
		{"ticks around a gap of half an hour",
			"*/10 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00+10:30",
			"2026-10-04T02:30+11:00 2026-10-04T02:40+11:00 2026-10-04T02:50+11:00 2026-10-05T02:00+11:00"},
		{"half an hour that comes twice",
			"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00+11:00",
			"2026-04-05T01:45+11:00 2026-04-06T01:45+10:30"},
		{"elapsed quarters over it",
			"*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:20+11:00",
			"2026-04-05T01:30+11:00 2026-04-05T01:45+11:00 2026-04-05T01:30+10:30 2026-04-05T01:45+10:30 " +
				"2026-04-05T02:00+10:30"},
		{"midnight that does not exist is one o'clock",
			"@daily", "America/Sao_Paulo", "2018-11-03T00:00-03:00",
			"2018-11-04T01:00-02:00 2018-11-05T00:00-02:00"},
		{"half an hour after it too",
			"30 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00-03:00",
			"2018-11-04T01:00-02:00 2018-11-05T00:30-02:00"},
		{"the last hour of a day that comes twice",
			"30 23 * * *", "America/Sao_Paulo", "2018-02-16T23:30-02:00",
			"2018-02-17T23:30-02:00 2018-02-18T23:30-03:00"},
		{"midnight in Santiago",
			"0 0 * * *", "America/Santiago", "2026-09-05T12:00-04:00",
			"2026-09-06T01:00-03:00 2026-09-07T00:00-03:00"},
		{"a gap before midnight moves a tick to the next date",
			"30 23 * * *", "America/Nuuk", "2026-03-28T12:00-02:00",
			"2026-03-29T00:00-01:00 2026-03-29T23:30-01:00"},
		{"a date that does not exist has no tick",
			"0 9 * * *", "Pacific/Apia", "2011-12-28T12:00-10:00",
			"2011-12-29T09:00-10:00 2011-12-31T09:00+14:00"},
		{"not even if it is the only one of the year",
			"0 9 30 12 *", "Pacific/Apia", "2011-06-01T00:00-11:00",
			"2012-12-30T09:00+14:00"},
		{"the 13th, and each Friday",
			"0 0 13 * 5", "UTC", "2026-02-10T00:00+00:00",
			"2026-02-13T00:00+00:00 2026-02-20T00:00+00:00 2026-02-27T00:00+00:00 2026-03-06T00:00+00:00 " +
				"2026-03-13T00:00+00:00"},
		{"a star with a step is no restriction: odd days that are Mondays",
			"0 0 */2 * 1", "UTC", "2026-06-01T12:00+00:00",
			"2026-06-15T00:00+00:00 2026-06-29T00:00+00:00 2026-07-13T00:00+00:00"},
		{"Sunday is 0 and 7",
			"0 9 * * 7", "UTC", "2026-06-01T00:00+00:00",
			"2026-06-07T09:00+00:00 2026-06-14T09:00+00:00"},
		{"the 29th of February",
			"0 0 29 2 *", "UTC", "2096-03-01T00:00+00:00",
			"2104-02-29T00:00+00:00"},
		{"a 29th of February that is a Sunday",
			"0 0 29 2 */7", "UTC", "2032-03-01T00:00+00:00",
			"2060-02-29T00:00+00:00"},
		{"the year 2100",
			"0 0 1 1 *", "UTC", "2099-06-01T00:00+00:00",
			"2100-01-01T00:00+00:00 2101-01-01T00:00+00:00"},
		{"the last day of a leap year, after which Go's year has ended",
			"0 12 * * *", "America/New_York", "2040-12-30T12:00-05:00",
			"2040-12-31T12:00-05:00 2041-01-01T12:00-05:00 2041-01-02T12:00-05:00"},
		{"its elapsed hours",
			"0 */12 * * *", "Europe/Berlin", "2040-12-30T12:00+01:00",
			"2040-12-31T00:00+01:00 2040-12-31T12:00+01:00 2041-01-01T00:00+01:00"},
		{"an hour before a gap, seen from the year before",
			"30 1 29 3 *", "Europe/Berlin", "2025-06-01T12:00+02:00",
			"2026-03-29T01:30+01:00 2027-03-29T01:30+02:00"},
		{"multiples since the epoch, whatever the zone",
			"@every 90s", "Asia/Kathmandu", "2026-01-01T00:00:10+05:45",
			"2026-01-01T00:01:30+05:45 2026-01-01T00:03+05:45"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse(c.schedule)
			if err != nil {
				t.Fatal(err)
			}
			loc := zone(t, c.zone)
			at := instant(t, c.after)
			for _, want := range strings.Fields(c.want) {
				next := s.Next(at, loc)
				if !next.Equal(instant(t, want)) || next.Location() != loc {
					t.Fatalf("after %v comes %v, want %s", at.In(loc), next, want)
				}
				at = next
			}
		})
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		if at, err = time.Parse("2006-01-02T15:04:05Z07:00", text); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

func TestTheNextTickIsLaterByLessThanASecondToo(t *testing.T) {
	s, err := Parse("* * * * *")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for after, want := range map[time.Time]time.Time{
		noon.Add(-1):              noon,
		noon:                      noon.Add(time.Minute),
		noon.Add(1):               noon.Add(time.Minute),
		noon.Add(time.Minute - 1): noon.Add(time.Minute),
	} {
		if next := s.Next(after, time.UTC); !next.Equal(want) {
			t.Errorf("after %v comes %v, want %v", after, next, want)
		}
	}
}

func TestTheSameScheduleIsWrittenInManyWays(t *testing.T) {
	for _, same := range [][]string{
		{"@hourly", "0 * * * *", "00 */1 * * *", " 0\t*  * * * "},
		{"@daily", "@midnight", "@Daily", "0 0 * * *"},
		{"@weekly", "0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "0 0 * * SUN", "0 0 * * */7"},
		{"@monthly", "0 0 1 * *"},
		{"@yearly", "@annually", "0 0 1 1 *", "0 0 1 Jan *", "0 0 1 */12 *"},
		{"@every 90s", "@every 1m30s", "@EVERY  90s"},
		{"0 0 * * mon-fri", "0 0 * * 1-5", "0 0 * * 1,2,3,4,5", "0 0 * * tue-fri,mon"},
		{"0 0 * * sat-sun", "0 0 * * 6-7", "0 0 * * 6-0", "0 0 * * 0,6"},
		{"*/20 0 * * *", "0-59/20 0 * * *", "0/20 0 * * *", "0,20,40 0 * * *", "0,0,20-20,40 0 * * *"},
		{"0 0 1 feb-dec/5 *", "0 0 1 2,7,12 *", "0 0 1 2/5 *"},
	} {
		first, err := Parse(same[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range same[1:] {
			if s, err := Parse(text); err != nil {
				t.Error(err)
			} else if s.elapsed = first.elapsed; *s != *first {
				t.Errorf("%q is not the same as %q", text, same[0])
			}
		}
	}
}

func TestEveryRefusalSaysWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "must have five fields (minute, hour, day of month, month, day of week), not 0",
		"0 0 * *":                  "must have five fields (minute, hour, day of month, month, day of week), not 4",
		"0 0 2 * * *":              "leave away the seconds and the year; for seconds say @every 30s",
		"0 0 2 * * ? 2026":         "leave away the seconds and the year",
		"TZ=UTC 0 0 * * *":         "must not name a time zone: say it in Location, or with --zone",
		"CRON_TZ=America/New_York": "must not name a time zone",
		"cron_tz=UTC @daily":       "must not name a time zone",
		"@reboot":                  "enqueue the job where the program starts",
		"@fortnightly":             "the names are @hourly, @daily, @weekly, @monthly, @yearly and @every 90s",
		"@every":                   "must have whole seconds after @every, from 1s",
		"@every 1.5s":              "must have whole seconds",
		"@every 500ms":             "must have whole seconds",
		"@every 0s":                "must have whole seconds",
		"@every -1m":               "must have whole seconds",
		"@every 90":                "such as 90s or 1h30m",
		"@every 100000h":           "from 1s to 87840h",
		"60 * * * *":               `must have numbers from 0 to 59 in the minute, not "60"`,
		"* 24 * * *":               `must have numbers from 0 to 23 in the hour, not "24"`,
		"* * 0 * *":                `must have numbers from 1 to 31 in the day of month, not "0"`,
		"* * * 13 *":               `must have numbers from 1 to 12 in the month (or jan to dec), not "13"`,
		"* * * january *":          `(or jan to dec), not "january"`,
		"* * * * 8":                `must have numbers from 0 to 7 in the day of week (or sun to sat), not "8"`,
		"-1 * * * *":               `not ""`,
		"+5 * * * *":               `not "+5"`,
		"5, * * * *":               `not ""`,
		"*5 * * * *":               `not "*5"`,
		"*-5 * * * *":              `not "*"`,
		"1-2-3 * * * *":            `not "2-3"`,
		"jan * * * *":              `not "jan"`,
		"0 22-2 * * *":             "must not have the hour 22-2, which runs backwards: write 22-23,0-2",
		"0 0 * * FRI-MON":          "must not have the day of week fri-mon, which runs backwards: write 5-7,0-1",
		"*/0 * * * *":              "must have a step from 1 to 59 in the minute, not /0",
		"*/60 * * * *":             "must have a step from 1 to 59 in the minute, not /60",
		"* */24 * * *":             "must have a step from 1 to 23 in the hour, not /24",
		"* 5-10/30 * * *":          "must have a step from 1 to 10 in the hour, not /30",
		"*/ * * * *":               "must have a step",
		"*/-5 * * * *":             "must have a step",
		"*/5/5 * * * *":            "must have a step",
		"0 0 31 2 *":               "names a date that never comes",
		"0 0 30,31 feb *":          "names a date that never comes",
		"0 0 31 4,6,9,11 */2":      "names a date that never comes",
		"0 0 ? * 1":                `must not have "?" in the day of month: write *`,
		"0 0 L * *":                "say the first day of the next month",
		"0 0 LW * *":               "say the first day of the next month",
		"0 0 L-3 * *":              "say the first day of the next month",
		"0 0 * * 5L":               "let the handler look at the date",
		"0 0 * * friL":             "let the handler look at the date",
		"0 0 15W * *":              "list the days, and let the handler look at the date",
		"0 0 * * 1#2":              "for the second Monday list the days 8-14",
		"0 0 * * mon#2":            "for the second Monday list the days 8-14",
		"H * * * *":                "say a number, and Jitter to spread jobs",
		"0~59 * * * *":             "say a number, and Jitter to spread jobs",
	} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("%q is not refused", text)
			continue
		}
		if e := err.(*Error); e.Schedule != text || !strings.Contains(e.Rule, want) {
			t.Errorf("%q is refused with %q, want %q", text, e.Rule, want)
		}
		if want := fmt.Sprintf("schedule %q ", text); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the error is %q, want it to begin with %s", err, want)
		}
	}
}

func TestADateOfEitherKindCanCome(t *testing.T) {
	for _, text := range []string{"0 0 31 2 5", "0 0 29 2 *", "0 0 31 1,2 *", "0 0 30 2 0-6"} {
		if _, err := Parse(text); err != nil {
			t.Error(err)
		}
	}
}

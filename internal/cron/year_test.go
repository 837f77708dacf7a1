package cron

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestAYearOfEveryZoneAgreesWithTheOracle compares every tick of a year with
// what the rules say when they are applied to each minute of it. It takes a
// few time zones by chance, and those that once were trouble; ONCEQ_LONG=1
// takes all of them, and more schedules. In lists of cases its name is
// a_year_of_every_zone_agrees_with_the_oracle.
func TestAYearOfEveryZoneAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	zones := allZones(t)
	years := map[string]int{ // where there was trouble, and when
		"America/New_York": 2026, "Australia/Lord_Howe": 2026, "America/Nuuk": 2026, "America/Sao_Paulo": 2018,
		"America/Santiago": 2026, "Africa/Casablanca": 2026, "Antarctica/Troll": 2026, "Africa/Cairo": 2026,
		"Asia/Gaza": 2026, "Pacific/Apia": 2011, "Pacific/Kwajalein": 1993, "Europe/Dublin": 2040,
	}
	if os.Getenv("ONCEQ_LONG") != "" {
		for name, year := range years {
			yearAgrees(t, zone(t, name), year, 100, r)
		}
		for _, loc := range zones {
			yearAgrees(t, loc, 2026, 20, r)
			yearAgrees(t, loc, 1973+r.IntN(80), 20, r)
		}
		return
	}
	for name, year := range years { // Go begins at one by chance
		yearAgrees(t, zone(t, name), year, 5, r)
		if delete(years, name); len(years) == 8 {
			break
		}
	}
	for range 4 {
		yearAgrees(t, zones[r.IntN(len(zones))], 2026, 5, r)
	}
}

func yearAgrees(t *testing.T, loc *time.Location, year, schedules int, r *rand.Rand) {
	d := keepDiary(loc, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -3), 371)
	for range schedules {
		if schedule := randomSchedule(r); !d.check(t, schedule, loc) {
			t.Errorf("the year was %d", year)
			return
		}
	}
	for hour := range min(schedules, 24) {
		if !d.check(t, fmt.Sprintf("30 %d * * *", hour), loc) {
			return
		}
	}
}

// randomSchedule makes one that is not refused.
func randomSchedule(r *rand.Rand) string {
	for {
		if r.IntN(20) == 0 {
			return fmt.Sprintf("@every %dm", 1+r.IntN(5000))
		}
		f := []string{randomField(r, 0, 59), randomField(r, 0, 23), "*", "*", "*"}
		if r.IntN(3) == 0 {
			f[2] = randomField(r, 1, 31)
		}
		if r.IntN(5) == 0 {
			f[3] = randomField(r, 1, 12)
		}
		if r.IntN(3) == 0 {
			f[4] = randomField(r, 0, 7)
		}
		if r.IntN(2) == 0 {
			f[1] = fmt.Sprint(r.IntN(4)) // where gaps are
		}
		text := strings.Join(f, " ")
		if _, err := Parse(text); err == nil {
			return text
		}
	}
}

func randomField(r *rand.Rand, low, high int) string {
	value := func() int { return low + r.IntN(high-low+1) }
	switch r.IntN(6) {
	case 0:
		return "*"
	case 1:
		return fmt.Sprintf("*/%d", 1+r.IntN(high))
	case 2:
		a, b := value(), value()
		return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
	case 3:
		return fmt.Sprintf("%d/%d", value(), 1+r.IntN(high))
	case 4:
		return fmt.Sprintf("%d,%d,%d", value(), value(), value())
	}
	return fmt.Sprint(value())
}

// FuzzNext: Next goes forward, ends, and agrees with the oracle in the days
// around, for any schedule, time zone and instant.
func FuzzNext(f *testing.F) {
	zones := allZones(f)
	f.Add("30 2 * * *", uint16(100), int64(1_772_953_200))
	f.Add("*/15 */2 * * *", uint16(200), int64(1_775_000_000))
	f.Add("0 0 29 2 */6", uint16(300), int64(1_700_000_000))
	f.Add("@every 7m", uint16(400), int64(0))
	f.Fuzz(func(t *testing.T, text string, zone uint16, second int64) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		loc := zones[int(zone)%len(zones)]
		const from, to = 94_694_400, 4_102_444_800 // 1973 to 2100: full minutes
		now := time.Unix(from+mod(second, to-from), 0)
		next := s.Next(now, loc)
		if !next.After(now) {
			t.Fatalf("the next after %v is %v", now.In(loc), next)
		}
		h := fnv.New64()
		fmt.Fprint(h, text, zone, second)
		schedule := randomSchedule(rand.New(rand.NewPCG(h.Sum64(), 0))) // most texts that parse are dull
		d := keepDiary(loc, now.Truncate(time.Minute).Add(-margin*time.Minute), 7)
		d.check(t, schedule, loc)
		if s.every == 0 && !strings.HasPrefix(text, "@") && numbersOnly(text) {
			d.check(t, strings.ToLower(text), loc)
		}
	})
}

// numbersOnly: the oracle reads no names.
func numbersOnly(text string) bool {
	return strings.Trim(text, "0123456789*,-/ ") == "" && len(strings.Fields(text)) == 5
}

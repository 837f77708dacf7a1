package cron

import (
	"testing"
	"time"
)

func BenchmarkNext(b *testing.B) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, schedule, zone string }{
		{"daily", "30 2 * * *", "America/New_York"},
		{"hourly", "15 * * * *", "America/New_York"},
		{"minutely", "* * * * *", "UTC"},
		{"leap", "0 0 29 2 *", "America/New_York"},
		{"leap-elapsed", "0 * 29 2 *", "America/New_York"},
		{"leap-sunday", "0 0 29 2 */7", "America/New_York"},
		{"every", "@every 90s", "America/New_York"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := Parse(c.schedule)
			if err != nil {
				b.Fatal(err)
			}
			loc := zone(b, c.zone)
			b.ReportAllocs()
			for b.Loop() {
				s.Next(now, loc)
			}
		})
	}
	b.Run("day-by-day", func(b *testing.B) {
		s, _ := Parse("30 2 * * *")
		loc := zone(b, "America/New_York")
		at := now
		for b.Loop() {
			at = s.Next(at, loc)
		}
	})
}

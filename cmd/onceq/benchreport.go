package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/onceq/onceq/internal/jsontext"
)

// sample is what one measure gave in one round.
type sample struct {
	rate float64 // jobs a second
	cpu  float64 // microseconds of this process a job
	more map[string]float64
}

// measured is one measure in all rounds.
type measured struct {
	Name   string             `json:"name"`
	Rate   float64            `json:"per_second,omitempty"`
	Low    float64            `json:"low,omitempty"`
	High   float64            `json:"high,omitempty"`
	CPU    float64            `json:"cpu_us_per_job,omitempty"`
	Values map[string]float64 `json:"values,omitempty"`
}

// benchReport is what is printed.
type benchReport struct {
	Store       string        `json:"store"`
	Persistence string        `json:"persistence"`
	FsyncMicros float64       `json:"fsync_us,omitempty"`
	Rounds      int           `json:"rounds"`
	Seconds     float64       `json:"seconds"`
	CPUs        int           `json:"cpus"`
	Version     version       `json:"version"`
	At          jsontext.Time `json:"at"`
	Measures    []measured    `json:"measures"`
}

func pick(samples []sample, f func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = f(s)
	}
	return out
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

func (b *bench) print(r *benchReport) {
	a := b.a
	a.printf("%s; %s; onceq %s, SQLite %s, %s %s, %d CPUs\n", r.Store, r.Persistence, r.Version.Version,
		r.Version.SQLite, r.Version.Go, r.Version.Platform, r.CPUs)
	if r.FsyncMicros > 0 {
		a.printf("an fsync of 4 KiB takes %.0f µs there; ", r.FsyncMicros)
	}
	a.printf("medians of %s of %gs a measure, taking turns; one host\n\n", count(r.Rounds, "round"), r.Seconds)
	var rows [][]cell
	for _, m := range r.Measures {
		row := []cell{{text: m.Name}, {right: true}, {right: true}, {right: true}, {text: m.words()}}
		if m.Rate > 0 {
			row[1].text, row[1].style = thousands(int64(m.Rate)), bold
			row[2].text = thousands(int64(m.Low)) + "–" + thousands(int64(m.High))
		}
		if m.CPU > 0 {
			row[3].text = fmt.Sprintf("%.0f µs", m.CPU)
		}
		rows = append(rows, row)
	}
	a.table([]string{"MEASURE", "JOBS/S", "RANGE", "CPU/JOB", ""}, rows)
}

// words are the values beside the rate.
func (m *measured) words() string {
	v := m.Values
	switch {
	case v == nil:
		return ""
	case cmp.Compare(v["ratio"], 0) > 0:
		return fmt.Sprintf("%.1fx single inserts (%.1f–%.1f)", v["ratio"], v["ratio_low"], v["ratio_high"])
	case v["p50_ms"] > 0:
		return fmt.Sprintf("p50 %.2f ms (%.2f–%.2f), p99 %.2f ms (%.2f–%.2f)", v["p50_ms"], v["p50_ms_low"],
			v["p50_ms_high"], v["p99_ms"], v["p99_ms_low"], v["p99_ms_high"])
	}
	return fmt.Sprintf("slowest %.2fx the mean (%.2f–%.2f), longest wait %.0f ms (%.0f–%.0f)", v["slowest_to_mean"],
		v["slowest_to_mean_low"],
		v["slowest_to_mean_high"], v["longest_wait_ms"], v["longest_wait_ms_low"], v["longest_wait_ms_high"])
}

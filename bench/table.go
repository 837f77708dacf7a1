package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// row is one line of the table: an operation, measured on each side in turn.
type row struct {
	name  string // for -rows
	title string
	show  []string // metrics; nil = the rate
	goals []goal
	sides []side // onceq first
}

// side is one system in a row.
type side struct {
	name   string
	config string
	do     action
	aside  bool // shown, but no goal is set against it
}

// goal is what a row is to reach.
type goal struct {
	of      string  // the metric
	against bool    // as a ratio of the peers' best, else as it is
	least   float64 // 0 = none
	most    float64 // 0 = none
}

// measured is what a row gave: for each side one sample a round.
type measured struct {
	Row     string              `json:"row"`
	Title   string              `json:"title"`
	Sides   []string            `json:"sides"`
	Configs []string            `json:"configs"`
	Aside   []bool              `json:"aside"` // of each side
	Show    []string            `json:"show"`
	Samples map[string][]sample `json:"samples"`
	Goals   []reached           `json:"goals"`
	row     row
}

// reached is a goal and what came out.
type reached struct {
	Goal  string  `json:"goal"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Met   bool    `json:"met"`
	Text  string  `json:"text"`
}

var words = map[string]string{
	"rate": "rate", "cpu": "CPU", "p10": "p10", "p50": "p50", "p99": "p99", "time": "time a job", "waiting": "waiting",
	"finished":   "finished",
	"unvacuumed": "finished, not vacuumed", "slowest": "slowest against mean", "longest": "longest wait",
	"written": "log written",
}

// lower says for which metrics less is better.
func lower(metric string) bool { return metric != "rate" && metric != "slowest" }

func (g goal) String() string {
	sign, bound := "≥", g.least
	if g.most > 0 {
		sign, bound = "≤", g.most
	}
	switch {
	case g.against && g.of == "rate":
		return fmt.Sprintf("%s %gx", sign, bound)
	case g.against:
		return fmt.Sprintf("%s %s %.3gx", words[g.of], sign, bound)
	}
	return fmt.Sprintf("%s %s %s", words[g.of], sign, format(g.of, bound))
}

// format writes a value of a metric for people.
func format(metric string, v float64) string {
	switch metric {
	case "rate":
		return thousands(v) + "/s"
	case "p10", "p50", "p99", "longest":
		return fmt.Sprintf("%.3g ms", v)
	case "time", "client", "server", "cpu":
		return fmt.Sprintf("%.3g µs", v)
	case "waiting", "finished", "unvacuumed":
		return fmt.Sprintf("%.0f B", v)
	case "written":
		return fmt.Sprintf("%.2g B a call", v)
	}
	return fmt.Sprintf("%.2fx", v)
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (m *measured) values(side int, metric string) []float64 {
	var all []float64
	for _, s := range m.Samples[m.Sides[side]] {
		all = append(all, s.metric(metric))
	}
	return all
}

// ratios are the value of onceq divided by that of a side, round by round. Side
// 0 stands for the best of the sides with which a goal compares.
func (m *measured) ratios(side int, metric string) []float64 {
	out := m.values(0, metric)
	for i := range out {
		var peer float64
		for n := range m.Sides {
			if v := m.values(n, metric)[i]; side == n && n > 0 || side == 0 && n > 0 && !m.Aside[n] {
				if peer == 0 || lower(metric) == (v < peer) {
					peer = v
				}
			}
		}
		out[i] /= peer
	}
	return out
}

// judge compares with the goals.
func (m *measured) judge() {
	for _, g := range m.row.goals {
		values := m.values(0, g.of)
		if g.against {
			if len(m.Sides) == 1 {
				continue // peers were left out
			}
			values = m.ratios(0, g.of)
		}
		v := median(values)
		r := reached{Goal: g.String(), Value: v, Low: slices.Min(values), High: slices.Max(values),
			Met: !math.IsNaN(v) && (g.least == 0 || v >= g.least) && (g.most == 0 || v <= g.most)}
		if r.Text = "met"; !r.Met {
			r.Text = fmt.Sprintf("**missed: %s**", goalValue(g, v))
		}
		m.Goals = append(m.Goals, r)
	}
}

func goalValue(g goal, v float64) string {
	if g.against {
		return fmt.Sprintf("%.3gx", v)
	}
	return format(g.of, v)
}

// writeTable writes a line for each side.
func writeTable(w io.Writer, all []measured, server bool) {
	cpu := "CPU a job"
	if server {
		cpu = "CPU a job, client + server"
	}
	fmt.Fprintf(w, "| operation | | median | lowest – highest | %s | onceq against it, range of the rounds | goal | "+
		"|\n|---|---|--:|--:|--:|--:|---|---|\n", cpu)
	for _, m := range all {
		metrics := m.Show
		if metrics == nil {
			metrics = []string{"rate"}
		}
		for i, name := range m.Sides {
			cells := make([]string, 8)
			cells[1] = name
			if i == 0 {
				cells[0], cells[1] = m.Title, "**"+name+"**"
				var goals, verdicts []string
				for _, g := range m.Goals {
					goals, verdicts = append(goals, g.Goal), append(verdicts, g.Text)
				}
				cells[6], cells[7] = strings.Join(goals, "; "), strings.Join(verdicts, "; ")
			} else {
				r := m.ratios(i, metrics[0])
				cells[5] = fmt.Sprintf("%.3gx (%.3g – %.3g)", median(r), slices.Min(r), slices.Max(r))
			}
			var middle, span []string
			for _, name := range metrics {
				v := m.values(i, name)
				label := ""
				if name != "rate" && name != "time" {
					label = words[name] + " "
				}
				middle = append(middle, label+format(name, median(v)))
				span = append(span, strings.TrimSuffix(format(name, slices.Min(v)), " "+unit(name))+" – "+
					format(name, slices.Max(v)))
			}
			cells[2], cells[3] = strings.Join(middle, ", "), strings.Join(span, ", ")
			if median(m.values(i, "cpu")) > 0 {
				cells[4] = fmt.Sprintf("%.3g µs", median(m.values(i, "client")))
				if server {
					cells[4] = fmt.Sprintf("%.3g + %.3g µs", median(m.values(i, "client")),
						median(m.values(i, "server")))
				}
			}
			fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
		}
	}
	fmt.Fprintln(w, "\nHow the sides were configured:")
	fmt.Fprintln(w)
	for _, m := range all {
		var parts []string
		for i, name := range m.Sides {
			if m.Configs[i] != "" {
				parts = append(parts, name+": "+m.Configs[i])
			}
		}
		if len(parts) > 0 {
			fmt.Fprintf(w, "* %s. %s.\n", m.Title, strings.Join(parts, ". "))
		}
	}
	fmt.Fprintln(w)
}

// unit is the end of what format writes, to be left out once.
func unit(metric string) string {
	_, u, _ := strings.Cut(format(metric, 1), " ")
	return u
}

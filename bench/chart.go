package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"
)

// charted are the rows of the chart, in its order: by name, and what they are called
// there.
var charted = []struct{ row, title, metric string }{
	{"enqueue", "new unique jobs, 64 callers", "rate"},
	{"batch", "in batches of 1,000", "rate"},
	{"duplicate", "duplicates", "rate"},
	{"run", "jobs run, 100 at once", "rate"},
	{"enqueue-1", "one caller, one new job after the other (shorter is better)", "p50"},
	{"start", "from enqueue to start (shorter is better)", "p50"},
}

const (
	chartWidth, barHeight, barsLeft, barsWidth = 860, 17, 176, 520
	oursIn, theirsIn                           = "#0b7a75", "#a9b4bd"
)

// bar is one line of the chart.
type bar struct {
	name  string
	value float64
}

// barsOf are onceq and, of each peer, the side that did best: River at 1 ms and River
// at 2 ms are one peer. Sides that are no queue are left out.
func (m *measured) barsOf(metric string) (bars []bar) {
	for i, name := range m.Sides {
		if strings.HasPrefix(name, "a mutex") {
			continue
		}
		name, _, _ = strings.Cut(name, " at ")
		name, _, _ = strings.Cut(name, ",")
		b := bar{name, median(m.values(i, metric))}
		if last := len(bars) - 1; last >= 0 && bars[last].name == name {
			if lower(metric) == (b.value < bars[last].value) {
				bars[last] = b
			}
			continue
		}
		bars = append(bars, b)
	}
	return bars
}

// writeChart draws the reports as one picture: a panel a store, and in it a group of
// bars for each operation. Bars of one group share a scale, and each has its figure.
func writeChart(w io.Writer, reports []report, note string) error {
	var body strings.Builder
	y := 34
	for _, r := range reports {
		fmt.Fprintf(&body, `<text class="store" x="16" y="%d">%s</text>`+"\n", y, html.EscapeString(r.title()))
		y += 12
		for _, c := range charted {
			for i := range r.Rows {
				if r.Rows[i].Row == c.row {
					y = group(&body, y, c.title, c.metric, r.Rows[i].barsOf(c.metric))
				}
			}
		}
		y += 34
	}
	if body.Len() == 0 {
		return errors.New("no report to draw")
	}
	first := reports[0]
	foot := html.EscapeString(fmt.Sprintf("%s, client and server on one machine; medians of %d rounds of %g s, "+
		"taking turns; %s",
		first.Host, first.Rounds, first.Seconds, first.At.Format("2006-01-02")))
	at := y - 10
	if note != "" {
		y += 16
		foot += "</text>\n" + fmt.Sprintf(`<text class="foot" x="16" y="%d">%s`, y-10, html.EscapeString(note))
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" `+
		`height="%[2]d" role="img" aria-label="Rates of onceq and its peers, side by side">
<style>text{font:13px system-ui,sans-serif;fill:#24292f}.store{font-size:17px;font-weight:600}
.op{fill:#57606a}.foot{font-size:11px;fill:#57606a}.us{font-weight:600}</style>
<rect width="100%%" height="100%%" rx="8" fill="#ffffff"/>
%[3]s<text class="foot" x="16" y="%[4]d">%[5]s</text>
</svg>
`, chartWidth, y+4, &body, at, foot)
	return err
}

// title names the store and how durable it is.
func (r report) title() string {
	mode, _, _ := strings.Cut(r.Mode, "; ")
	mode, _, _ = strings.Cut(mode, ", its other")
	return strings.TrimSuffix(r.Server, " in this process") + ": " + strings.TrimSuffix(mode, ", no snapshots")
}

// group draws the bars of one operation, and returns where the next one begins.
func group(w io.Writer, y int, title, metric string, bars []bar) int {
	longest := 0.0
	for _, b := range bars {
		longest = max(longest, b.value)
	}
	y += 22
	fmt.Fprintf(w, `<text class="op" x="%d" y="%d">%s</text>`+"\n", barsLeft, y, title)
	y += 6
	for _, b := range bars {
		color, class := theirsIn, ""
		if b.name == "onceq" {
			color, class = oursIn, ` class="us"`
		}
		width := max(2, b.value/longest*barsWidth)
		middle := y + barHeight - 4
		fmt.Fprintf(w, `<text%s x="%d" y="%d" text-anchor="end">%s</text>`+
			`<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/><text%s x="%.1f" y="%d">%s</text>`+"\n",
			class, barsLeft-8, middle, html.EscapeString(b.name), barsLeft, y, width, barHeight-3, color,
			class, barsLeft+width+8, middle, format(metric, b.value))
		y += barHeight
	}
	return y
}

// writeShort writes what the chart shows as a table: a line an operation, a column a
// queue. In brackets stands how much better onceq is; below 1 it is worse.
func (r report) writeShort(w io.Writer) {
	var peers []string
	for i := range r.Rows {
		for _, b := range r.Rows[i].barsOf("rate")[1:] {
			if !slices.Contains(peers, b.name) {
				peers = append(peers, b.name)
			}
		}
	}
	fmt.Fprintf(w, "| %s | onceq | %s |\n|---|--:|%s\n", r.title(), strings.Join(peers, " | "),
		strings.Repeat("--:|", len(peers)))
	for _, c := range charted {
		for i := range r.Rows {
			if r.Rows[i].Row != c.row {
				continue
			}
			bars := r.Rows[i].barsOf(c.metric)
			cells := make([]string, len(peers))
			for _, b := range bars[1:] {
				better := bars[0].value / b.value
				if lower(c.metric) {
					better = 1 / better
				}
				cells[slices.Index(peers, b.name)] = fmt.Sprintf("%s (%.2gx)", format(c.metric, b.value), better)
			}
			fmt.Fprintf(w, "| %s | **%s** | %s |\n", strings.TrimSuffix(c.title, " (shorter is better)"),
				format(c.metric, bars[0].value), strings.Join(cells, " | "))
		}
	}
	fmt.Fprintln(w)
}

// again prints what an earlier run measured, from a file of its -json.
func (o *options) again(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var all []report
	for in := json.NewDecoder(f); in.More(); {
		var r report
		if err := in.Decode(&r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	for i := range all {
		all[i].writeShort(os.Stdout)
	}
	for i := range all {
		all[i].write(os.Stdout)
	}
	if o.chart == "" {
		return nil
	}
	var picture strings.Builder
	if err := writeChart(&picture, all, o.note); err != nil {
		return err
	}
	return os.WriteFile(o.chart, []byte(picture.String()), 0o644)
}

package dashboard

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq/internal/phrase"
)

// layer is one of the numbers that a chart puts on top of each other.
type layer struct {
	Name   string
	Class  string // of its colour
	Values []int64
	Total  int64
}

// bar is a rectangle of a chart.
type bar struct {
	X, Y, W, H float64
	Class      string
	Title      string // what a pointer over it says
}

// chart is numbers over time, as bars and as a table.
type chart struct {
	Title    string
	Unit     string // of a step: "minute" or "hour"
	Layers   []layer
	Bars     []bar
	Columns  []bar // as wide as the step and as high as the chart, with the title of all layers
	Most     int64 // of a step
	From, To time.Time
	Rows     []chartRow // the steps in which something happened, the latest first
	Empty    bool
}

type chartRow struct {
	At     time.Time
	Values []int64
}

// The size of a chart, in units of its own: it is stretched to the page.
const (
	chartWidth  = 600.0
	chartHeight = 100.0
	mostRowsOf  = 60 // in the table of a chart
)

// newChart makes a chart of layers with a value for each step.
func newChart(title string, from time.Time, step time.Duration, layers ...layer) *chart {
	c := &chart{Title: title, Unit: "minute", Layers: layers, From: from, Empty: true}
	if step >= time.Hour {
		c.Unit = "hour"
	}
	n := len(layers[0].Values)
	c.To = from.Add(time.Duration(n) * step)
	sums := make([]int64, n)
	for l := range layers {
		for i, v := range layers[l].Values {
			sums[i] += v
			layers[l].Total += v
			c.Most = max(c.Most, sums[i])
		}
	}
	if c.Empty = c.Most == 0; c.Empty {
		return c
	}
	width := chartWidth / float64(n)
	for i := range n {
		at, base := from.Add(time.Duration(i)*step), chartHeight
		title := at.UTC().Format("15:04") + ":"
		row := chartRow{At: at}
		for _, l := range layers {
			height := float64(l.Values[i]) / float64(c.Most) * chartHeight
			row.Values = append(row.Values, l.Values[i])
			title += fmt.Sprintf(" %s %s,", phrase.Thousands(l.Values[i]), l.Name)
			if l.Values[i] == 0 {
				continue
			}
			base -= height
			c.Bars = append(c.Bars, bar{X: float64(i)*width + width*.12, Y: base, W: width * .76, H: height,
				Class: l.Class})
		}
		if sums[i] > 0 {
			c.Columns = append(c.Columns, bar{X: float64(i) * width, W: width, H: chartHeight,
				Title: title[:len(title)-1]})
			c.Rows = append([]chartRow{row}, c.Rows...)
		}
	}
	c.Rows = c.Rows[:min(len(c.Rows), mostRowsOf)]
	return c
}

// sparkline is bars without a scale, one for each value: 60 units wide and 20
// high. It is nil where nothing happened.
func sparkline(values []int64) (all []bar) {
	most := slices.Max(values)
	if most == 0 {
		return nil
	}
	width := 60 / float64(len(values))
	for i, v := range values {
		if v > 0 {
			height := max(1, 20*float64(v)/float64(most))
			all = append(all, bar{X: float64(i) * width, W: width * .8, Y: 20 - height, H: height})
		}
	}
	return all
}

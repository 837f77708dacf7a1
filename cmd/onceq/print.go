package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
	"github.com/onceq/onceq/internal/wire"
)

// printJSON prints one object on one line.
func (a *app) printJSON(v any) error { return wire.WriteLine(a.out, v) }

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// clean makes a text that came from elsewhere safe for a terminal: what is
// not printable is escaped.
func clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// A style is the number of a terminal colour.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

func (a *app) paint(st style, s string) string {
	if !a.colours || st == plain {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

func stateStyle(s onceq.State) style {
	switch s {
	case onceq.Completed:
		return green
	case onceq.Running:
		return cyan
	case onceq.Retryable:
		return yellow
	case onceq.Discarded:
		return red
	case onceq.Cancelled:
		return dim
	}
	return plain
}

// cell is a text in a table.
type cell struct {
	text  string
	style style
	right bool // aligned to the right
}

func text(s string) cell       { return cell{text: clean(s)} }
func number(n int64) cell      { return cell{text: thousands(n), right: true} }
func state(s onceq.State) cell { return cell{text: string(s), style: stateStyle(s)} }

// table prints rows under a header, in columns. On a terminal that is too
// narrow the spare columns are left out, in their order, and the last column
// is cut to fit.
func (a *app) table(header []string, rows [][]cell, spare ...string) {
	header, rows = narrowed(header, rows, a.width(), spare)
	width := make([]int, len(header))
	for i, h := range header {
		width[i] = len(h)
	}
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	room := a.width()
	var b strings.Builder
	line := func(row []cell) {
		at := 0
		for i, c := range row {
			last := i == len(row)-1
			if last && room > 0 {
				c.text = cut(c.text, max(room-at, 10))
			}
			pad := strings.Repeat(" ", width[i]-min(width[i], utf8.RuneCountInString(c.text)))
			shown := a.paint(c.style, c.text)
			switch {
			case c.right:
				b.WriteString(pad + shown)
			case last:
				b.WriteString(shown)
			default:
				b.WriteString(shown + pad)
			}
			if !last {
				b.WriteString("  ")
			}
			at += width[i] + 2
		}
		b.WriteString("\n")
	}
	head := make([]cell, len(header))
	for i, h := range header {
		head[i] = cell{text: h, style: dim, right: len(rows) > 0 && rows[0][i].right}
	}
	line(head)
	for _, row := range rows {
		line(row)
	}
	_, _ = io.WriteString(a.out, b.String())
}

// lastColumn is how much of the last column should be seen.
const lastColumn = 24

// narrowed leaves out spare columns until the others fit into room; 0 = any
// room.
func narrowed(header []string, rows [][]cell, room int, spare []string) ([]string, [][]cell) {
	for _, name := range spare {
		total := 0
		for i, h := range header {
			width := utf8.RuneCountInString(h)
			for _, row := range rows {
				width = max(width, utf8.RuneCountInString(row[i].text))
			}
			if i == len(header)-1 {
				width = min(width, lastColumn)
			}
			total += width + 2
		}
		out := slices.Index(header, name)
		if room == 0 || total-2 <= room {
			break
		}
		if out < 0 {
			continue
		}
		header = slices.Delete(slices.Clone(header), out, out+1)
		fewer := make([][]cell, len(rows))
		for i, row := range rows {
			fewer[i] = slices.Delete(slices.Clone(row), out, out+1)
		}
		rows = fewer
	}
	return header, rows
}

// width is the width of the terminal; 0 when there is none.
func (a *app) width() int {
	if f, ok := a.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 0
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// facts prints names and values, one in each line. A value with several
// lines is indented.
func (a *app) facts(facts [][2]string) {
	width := 0
	for _, f := range facts {
		width = max(width, len(f[0]))
	}
	for _, f := range facts {
		lines := strings.Split(f[1], "\n")
		a.printf("%s  %s\n", a.paint(dim, fmt.Sprintf("%-*s", width, f[0])), lines[0])
		for _, l := range lines[1:] {
			a.printf("%*s  %s\n", width, "", l)
		}
	}
}

// moment writes an instant as local time, and how far away it is.
func moment(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04:05") + " (" + away(t, now) + ")"
}

// away, short, thousands and count are the words that the pages use too.
func away(t, now time.Time) string { return phrase.Away(t, now) }

func short(d time.Duration) string { return phrase.Span(d) }

func thousands[T ~int | ~int64](n T) string { return phrase.Thousands(n) }

func count[T ~int | ~int64](n T, what string) string { return phrase.Count(n, what) }

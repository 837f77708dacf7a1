package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// The parts of Markdown that the guides use.
var (
	hidden   = regexp.MustCompile(`(?s)<!--.*?-->\n*`)
	link     = regexp.MustCompile(`!?\[([^\]]*)\]\(([^)]*)\)`)
	strong   = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	emphasis = regexp.MustCompile(`\*([^*\s](?:[^*]*[^*\s])?)\*`)
	codeSpan = regexp.MustCompile("`` ?(.+?) ?``|`([^`]+)`")
	item     = regexp.MustCompile(`^(\s*)([*-]|\d+\.) +`)
)

// rendered is Markdown as a terminal shows it, at most so wide where lines can be
// broken.
func (a *app) rendered(text string, width int) string {
	r := renderer{a: a, width: width}
	lines := strings.Split(hidden.ReplaceAllString(text, ""), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		bare := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(bare, "```"):
			r.flush()
			indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
			for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "```"); i++ {
				r.out.WriteString(strings.TrimRight("    "+indent+strings.TrimPrefix(lines[i], indent), " ") + "\n")
			}
		case strings.HasPrefix(line, "#"):
			r.flush()
			marks, title, _ := strings.Cut(line, " ")
			if a.colours {
				r.paragraph("", strings.ReplaceAll(markStrong+r.inline(title)+endStrong, " ", endStrong+" "+markStrong))
			} else {
				r.paragraph(marks+" ", r.inline(title))
			}
		case strings.HasPrefix(bare, "|"):
			r.flush()
			from := i
			for i+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i+1]), "|") {
				i++
			}
			r.table(lines[from : i+1])
		case bare == "":
			r.flush()
			r.out.WriteString("\n")
		case item.MatchString(line):
			r.flush()
			m := item.FindStringSubmatch(line)
			r.lead = m[1] + m[2] + " "
			r.words = append(r.words, line[len(m[0]):])
		default:
			// A sentence begins a line in the source, and here it goes on.
			if len(r.words) == 0 {
				r.lead = line[:len(line)-len(strings.TrimLeft(line, " "))]
			}
			r.words = append(r.words, bare)
		}
	}
	r.flush()
	return strings.TrimRight(r.out.String(), "\n") + "\n"
}

// renderer collects the sentences of a paragraph, and breaks its lines.
type renderer struct {
	a     *app
	width int
	out   strings.Builder
	lead  string   // before the first line; the others are indented alike
	words []string // the sentences of the paragraph
}

func (r *renderer) flush() {
	if len(r.words) > 0 {
		r.paragraph(r.lead, r.inline(strings.Join(r.words, " ")))
	}
	r.lead, r.words = "", nil
}

// paragraph breaks a text into lines.
func (r *renderer) paragraph(lead, text string) {
	rest := strings.Repeat(" ", utf8.RuneCountInString(lead))
	line, empty := lead, true
	for _, word := range strings.Fields(text) {
		if !empty && seen(line)+1+seen(word) > r.width {
			r.out.WriteString(r.styled(line) + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	r.out.WriteString(r.styled(line) + "\n")
}

// A mark stands for a style while lines are broken; it is not seen.
const (
	markStrong, endStrong = "\x01", "\x02"
	markCode, endCode     = "\x03", "\x04"
)

// seen is how many columns a text takes.
func seen(s string) int {
	return utf8.RuneCountInString(s) - strings.Count(s, markStrong) - strings.Count(s, endStrong) -
		strings.Count(s, markCode) - strings.Count(s, endCode)
}

// inline is a text with its links written out, and with marks where styles are.
func (r *renderer) inline(text string) string {
	code := []string{}
	text = codeSpan.ReplaceAllStringFunc(text, func(s string) string {
		inner := strings.TrimSpace(strings.Trim(s, "`"))
		if strings.HasPrefix(s, "``") {
			inner = strings.TrimSpace(s[2 : len(s)-2])
		}
		code = append(code, strings.ReplaceAll(inner, `\|`, "|"))
		return "\x05"
	})
	text = link.ReplaceAllStringFunc(text, func(s string) string {
		m := link.FindStringSubmatch(s)
		to, _, _ := strings.Cut(m[2], "#")
		switch name, isPage := strings.CutSuffix(to, ".md"); {
		case isPage && !strings.Contains(name, "/"):
			return m[1] + " (onceq docs " + name + ")"
		case strings.HasPrefix(to, "http"):
			return m[1] + " <" + m[2] + ">"
		}
		return m[1]
	})
	text = strong.ReplaceAllString(text, markStrong+"$1"+endStrong)
	text = strings.ReplaceAll(emphasis.ReplaceAllString(text, "$1"), `\|`, "|")
	for _, c := range code {
		text = strings.Replace(text, "\x05", markCode+c+endCode, 1)
	}
	return text
}

// styled turns marks into colours, or, where there are none, into quotes.
func (r *renderer) styled(line string) string {
	if !r.a.colours {
		return strings.NewReplacer(markStrong, "", endStrong, "", markCode, "", endCode, "").Replace(line)
	}
	return strings.NewReplacer(markStrong, "\x1b[1m", endStrong, "\x1b[0m", markCode, "\x1b[36m",
		endCode, "\x1b[0m").Replace(line)
}

// table prints a table in columns where they fit, and else a row as a block.
func (r *renderer) table(lines []string) {
	var rows [][]string
	widths := []int{}
	for n, l := range lines {
		if n == 1 {
			continue // the line under the header
		}
		var row []string
		l = strings.ReplaceAll(strings.Trim(strings.TrimSpace(l), "|"), `\|`, "\x06")
		for i, c := range strings.Split(l, "|") {
			c = r.inline(strings.TrimSpace(strings.ReplaceAll(c, "\x06", `\|`)))
			row = append(row, c)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], seen(c))
		}
		rows = append(rows, row)
	}
	total := -2
	for _, w := range widths {
		total += w + 2
	}
	for n, row := range rows {
		switch {
		case total <= r.width:
			line := ""
			for i, c := range row {
				line += c + strings.Repeat(" ", widths[i]-seen(c)+2)
			}
			r.out.WriteString(strings.TrimRight(r.styled(line), " ") + "\n")
		case n > 0:
			r.paragraph("* ", row[0])
			for i, c := range row[1:] {
				if head := rows[0][min(i+1, len(rows[0])-1)]; head != "" && c != "" {
					c = head + ": " + c
				}
				if c != "" {
					r.paragraph("    ", c)
				}
			}
		}
	}
}

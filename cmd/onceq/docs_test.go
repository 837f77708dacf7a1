package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestEveryGuideIsListed(t *testing.T) {
	files, err := os.ReadDir("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, g := range guides() {
		listed[g.name]++
	}
	for _, f := range files {
		name, isPage := strings.CutSuffix(f.Name(), ".md")
		if isPage && name != "README" && listed[name] != 1 {
			t.Errorf("docs/README.md lists %s.md %d times, and onceq docs shows it as often", name, listed[name])
		}
	}
	if len(listed) < 20 {
		t.Errorf("only %d guides", len(listed))
	}
}

// No guide has Markdown left where it is shown, or is wider than the terminal
// where its lines can be broken; and what it refers to is there.
func TestEveryGuideIsReadableInATerminal(t *testing.T) {
	refers := regexp.MustCompile(`\(onceq docs ([\w-]+)\)`)
	names := map[string]bool{}
	for _, g := range guides() {
		names[g.name] = true
	}
	for _, g := range guides() {
		for _, width := range []int{40, 80, 100} {
			text := (&app{}).rendered(g.text, width)
			for line := range strings.Lines(text) {
				line = strings.TrimRight(line, "\n")
				if strings.HasPrefix(line, "    ") && g.text != line &&
					strings.Contains(g.text, strings.TrimSpace(line)) {
					continue // code
				}
				if n := len([]rune(line)); n > width && len(strings.Fields(line)) > 2 {
					t.Errorf("%s at %d columns is %d wide: %s", g.name, width, n, line)
				}
				for _, left := range []string{"](", "```", "<!--", "-->", "|---", "\x01", "\x05"} {
					if strings.Contains(line, left) {
						t.Errorf("%s: %q is left: %s", g.name, left, line)
					}
				}
			}
			for _, m := range refers.FindAllStringSubmatch(strings.Join(strings.Fields(text), " "), -1) {
				if !names[m[1]] {
					t.Errorf("%s refers to onceq docs %s, which is not there", g.name, m[1])
				}
			}
		}
	}
}

func TestAGuideIsShownSearchedAndMissed(t *testing.T) {
	for _, c := range []struct {
		words string
		code  int
		want  []string
	}{
		{"docs", 0, []string{"To use it:\n", "\n  retries           Retries and timeouts\n"}},
		{"docs retries", 0, []string{"# Retries and timeouts\n", "\n    onceq.Handle(worker, "}},
		{"docs docs/retries.md", 0, []string{"# Retries and timeouts\n"}},
		{"docs --search max_attempts", 0, []string{"json              \"max_attempts\": 25"}},
		{"docs retrys", 2, []string{`there is no guide "retrys": did you mean onceq docs retries?`}},
		{"docs --search zzzzzzzz", 1, []string{`no guide has "zzzzzzzz"`}},
		{"docs --search a b", 2, []string{"leave \"b\" away"}},
	} {
		var out bytes.Buffer
		if code := run(strings.Fields(c.words), strings.NewReader(""), &out, &out); code != c.code {
			t.Errorf("onceq %s: exit code %d", c.words, code)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("onceq %s has no %q:\n%s", c.words, want, cut(out.String(), 2000))
			}
		}
	}
}

// A table that fits stands in columns; one that does not, as a list. A link and a
// code span are written out.
func TestMarkdownIsRendered(t *testing.T) {
	const text = "<!-- given\nx\n-->\n# A `b` *c*\n\nOne [two](three.md#x).\nFour **five** `a *b* \\| c` " +
		"[six](https://x.org).\n\n* seven eight\n  nine\n\n" +
		"| a | b |\n|---|---|\n| `x` | y z |\n\n```go\n\tcode() // [not](a.md) **so**\n```\n"
	for width, want := range map[int]string{
		80: "# A b c\n\nOne two (onceq docs three). Four five a *b* | c six <https://x.org>.\n\n* seven " +
			"eight nine\n\na  b\nx  y z\n\n    \tcode() // [not](a.md) **so**\n",
		5: "# A b\n  c\n\nOne\ntwo\n(onceq\ndocs\nthree).\nFour\nfive\na *b*\n| c\nsix\n<https://x.org>.\n\n" +
			"* seven\n  eight\n  nine\n\n* x\n    b:\n    y\n    z\n\n    \tcode() // [not](a.md) **so**\n",
	} {
		if got := (&app{}).rendered(text, width); got != want {
			t.Errorf("at %d columns:\n%q\nwant\n%q", width, got, want)
		}
	}
	const styled = "\x1b[1mx\x1b[0m \x1b[1my\x1b[0m\n\x1b[1ma\x1b[0m \x1b[36mb\x1b[0m\n"
	if got := (&app{colours: true}).rendered("# x y\n**a** `b`", 80); got != styled {
		t.Errorf("%q", got)
	}
}

// The manual page names every command and flag, and is plain for man.
func TestTheManualPageHasEveryCommand(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"docs", "--man"}, strings.NewReader(""), &out, &out); code != 0 {
		t.Fatal(code, out.String())
	}
	page := out.String()
	commands := 0
	for _, c := range everyCommand(newRoot(newApp(strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer))))[1:] {
		if c.Hidden {
			continue
		}
		commands++
		if !strings.Contains(page, "\n.SS "+roff(c.UseLine())+"\n") {
			t.Errorf("the manual page does not name %s", c.CommandPath())
		}
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(page, roff("--"+f.Name)) {
				t.Errorf("the manual page does not name --%s of %s", f.Name, c.CommandPath())
			}
		})
	}
	if commands < 40 {
		t.Errorf("only %d commands", commands)
	}
	request := regexp.MustCompile(`^\.(TH|SH|SS|PP|TP|B|I|nf|fi|RS|RE)( |$)`)
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "'") ||
			strings.HasPrefix(line, ".") && !request.MatchString(strings.TrimSpace(line)) {
			t.Errorf("man takes this for a request: %s", line)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		cmd := exec.Command(groff, "-Kutf8", "-man", "-Tutf8", "-ww")
		cmd.Stdin = strings.NewReader(page)
		var warnings bytes.Buffer
		cmd.Stderr = &warnings
		if _, err := cmd.Output(); err != nil || warnings.Len() > 0 {
			t.Errorf("groff: %v\n%s", err, cut(warnings.String(), 1000))
		}
	}
}

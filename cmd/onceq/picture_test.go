package main

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const pictureOfTheDemo = "../../docs/pictures/demo.svg"

// The picture in the README is what the demo prints, but for figures that are others
// each time. `make pictures` draws it anew.
func TestThePictureOfTheDemoIsWhatItPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the demo")
	}
	program := filepath.Join(t.TempDir(), "onceq")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	demo := exec.Command(program, "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shown := shownOfTheDemo(string(out))
	if os.Getenv("ONCEQ_PICTURES") != "" {
		if err := os.WriteFile(pictureOfTheDemo, []byte(inTerminal("$ onceq demo\n"+shown)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	picture, err := os.ReadFile(pictureOfTheDemo)
	if err != nil {
		t.Fatal(err)
	}
	drawn := html.UnescapeString(regexp.MustCompile(`<[^>]+>`).ReplaceAllString(string(picture), ""))
	for _, line := range strings.Split(shown, "\n") {
		if line = withoutFigures(line); line == "" {
			continue
		}
		if !strings.Contains(withoutFigures(drawn), line) {
			t.Errorf("the picture has not: %s\nmake pictures draws it anew", line)
		}
	}
}

// shownOfTheDemo is what the demo prints up to its verdict, with three of the lines
// that tell how far it is.
func shownOfTheDemo(out string) string {
	out, _, _ = strings.Cut(out, "\nThe file is ")
	var lines, going []string
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\n"); !strings.Contains(line, " runs started") {
			lines = append(lines, line)
		} else if going = append(going, line); len(going) == 1 {
			lines = append(lines, "")
		}
	}
	n := len(going)
	story := strings.Join([]string{going[0], going[n/2], going[n-1]}, "\n")
	shown := strings.Replace(strings.Join(lines, "\n"), "\n\n", "\n\n"+story+"\n", 1)
	return regexp.MustCompile(`\n{3,}`).ReplaceAllString(strings.TrimSpace(shown), "\n\n")
}

// withoutFigures has one digit for each number, one space for many, and nothing of who
// was hit by the kill, which is another each time.
func withoutFigures(s string) string {
	s = regexp.MustCompile(`elsewhere[^\n]*`).ReplaceAllString(s, "elsewhere")
	s = regexp.MustCompile(`\d[\d,.]*`).ReplaceAllString(s, "0")
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(strings.TrimSpace(s), " ")
}

// inTerminal draws text as a terminal shows it.
func inTerminal(text string) string {
	const left, top, line, letter = 20, 28, 19, 7.85
	lines := strings.Split(text, "\n")
	widest := 0
	for _, l := range lines {
		widest = max(widest, len([]rune(l)))
	}
	var body strings.Builder
	for i, l := range lines {
		class := ""
		if strings.HasPrefix(l, "OK ") || strings.HasPrefix(l, "$ ") {
			class = ` class="ok"`
		}
		fmt.Fprintf(&body, "<text%s x=\"%d\" y=\"%d\" xml:space=\"preserve\">%s</text>\n", class, left, top+i*line,
			html.EscapeString(l))
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" `+
		`height="%[2]d" role="img" aria-label="What onceq demo prints">
<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d6dee6}.ok{fill:#7ee0a8}</style>
<rect width="100%%" height="100%%" rx="8" fill="#111a22"/>
%[3]s</svg>
`, 2*left+int(float64(widest)*letter), top+len(lines)*line, &body)
}

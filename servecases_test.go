package onceq_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every case of the HTTP server and its pages has a test of its name, and one in
// which the store matters goes through all of them.
func TestEveryCaseOfServeHasItsTest(t *testing.T) {
	const list = "testdata/serve-cases.txt"
	bodies := map[string]string{} // of tests, by what their names say
	funcs := regexp.MustCompile(`(?ms)^func Test(\w+)\(.*?^}`)
	cases := regexp.MustCompile(`\{"([a-z0-9_]+)", `)
	for _, path := range filesOf(t, ".go") {
		text := read(t, path)
		if strings.HasPrefix(path, "storetest/") {
			for _, m := range cases.FindAllStringSubmatch(text, -1) {
				bodies[strings.ReplaceAll(m[1], "_", "")] = "onStores("
			}
		} else if strings.HasSuffix(path, "_test.go") {
			for _, m := range funcs.FindAllStringSubmatch(text, -1) {
				bodies[strings.ToLower(m[1])] = m[0]
			}
		}
	}
	// How a test goes through the stores.
	onStores := regexp.MustCompile(`onStores\(|onServedStores\(|onPages\(|range writers\b`)
	n := 0
	for line := range strings.Lines(read(t, list)) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		if n++; words[0] != strconv.Itoa(n) {
			t.Errorf("%s: %s stands where %d belongs", list, words[0], n)
		}
		body, exists := bodies[strings.ReplaceAll(words[1], "_", "")]
		switch matters := len(words) > 2 && words[2] == "stores"; {
		case !exists:
			t.Errorf("case %d: there is no test and no case %s", n, words[1])
		case matters && !onStores.MatchString(body):
			t.Errorf("case %d: %s does not go through the stores", n, words[1])
		}
	}
	if n != 64 {
		t.Errorf("%s has %d cases, want 64", list, n)
	}
}

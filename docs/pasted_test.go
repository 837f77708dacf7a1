package docs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/onceq/onceq/docs"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m).Run()) }

var (
	// A block that people paste stands behind such a comment, which no reader sees.
	toPaste  = regexp.MustCompile("(?ms)^<!-- pasted -->\n```sh\n(.*?)^```$")
	printed  = regexp.MustCompile("(?ms)^```\n(.*?)^```$")
	required = regexp.MustCompile(`(?m)^\t(\S+) (v\S+)`)
	ids      = regexp.MustCompile(`\b[0-9A-Z]{26}\b`)
)

// What a page asks people to paste works in an empty folder, one block after
// another in one shell, and prints what stands behind it. This checkout stands in
// for the published modules, by replace directives, and for the published command.
func TestWhatThePagesAskToPasteWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs")
	}
	if runtime.GOOS == "windows" {
		t.Skip("it pastes into sh")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(t.TempDir(), "onceq")
	if out, err := exec.Command("go", "build", "-o", command, "../cmd/onceq").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages, err := docs.Pages.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, page := range pages {
		text, err := docs.Pages.ReadFile(page.Name())
		if err != nil {
			t.Fatal(err)
		}
		if blocks := toPaste.FindAllSubmatchIndex(text, -1); blocks != nil {
			tried++
			t.Run(page.Name(), func(t *testing.T) {
				t.Parallel()
				paste(t, root, filepath.Dir(command), string(text), blocks)
			})
		}
	}
	if tried < 6 {
		t.Errorf("only %d pages have something to paste: the expression no longer finds it", tried)
	}
}

// paste runs the blocks of a page, and compares what they print.
func paste(t *testing.T, root, bin, text string, blocks [][]int) {
	const mark = "--- the next block ---"
	var script strings.Builder
	var want []string
	for i, b := range blocks {
		fmt.Fprintf(&script, "%s\necho '%s'\n", text[b[2]:b[3]], mark)
		rest := text[b[1]:]
		if i+1 < len(blocks) {
			rest = text[b[1]:blocks[i+1][0]]
		}
		out := printed.FindStringSubmatch(rest)
		if out == nil {
			t.Fatalf("no block says what block %d prints", i+1)
		}
		want = append(want, out[1])
	}
	cmd := exec.Command("sh", "-e")
	cmd.Stdin, cmd.Dir = strings.NewReader(asPublished(t, root, script.String())), t.TempDir()
	cmd.Env = append(environment(t), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for name, url := range map[string]func(testing.TB) string{
		"DATABASE_URL": pgtest.URL,
		"REDIS_ADDR": func(t testing.TB) string {
			return strings.TrimPrefix(strings.TrimSuffix(redistest.Start(t).URL(), "/0"), "redis://")
		},
	} {
		if strings.Contains(text, name) {
			cmd.Env = append(cmd.Env, name+"="+url(t))
		}
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &log)
	}
	got := strings.Split(string(out), mark+"\n")
	for i := range want {
		if !prints(want[i], got[i]) {
			t.Errorf("block %d printed\n%s\nthe page says\n%s\nand on standard error\n%s", i+1, got[i], want[i], &log)
		}
	}
}

// prints compares what a page says with what was printed. An ID stands for any, but
// the same one for the same; … stands for anything in a line.
func prints(want, got string) bool {
	numbered := func(s string) string {
		names := map[string]string{}
		return ids.ReplaceAllStringFunc(s, func(id string) string {
			if names[id] == "" {
				names[id] = fmt.Sprintf("ID-%d", len(names)+1)
			}
			return names[id]
		})
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(numbered(want)), "…", "[^\n]*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(numbered(got))
}

// asPublished lets this checkout stand in for what is published. Of other modules it
// asks for the versions that examples uses: these are in the cache of whoever has
// built them, and the newest may not be.
func asPublished(t *testing.T, root, script string) string {
	const module = "github.com/onceq/onceq"
	mod, err := os.ReadFile("../examples/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	replace := ""
	for _, m := range required.FindAllSubmatch(mod, -1) {
		if !strings.HasPrefix(string(m[1]), module) {
			replace += fmt.Sprintf("go mod edit -require %s@%s\n", m[1], m[2])
		}
	}
	for _, folder := range []string{"", "/guard/guardasynq"} {
		if folder == "" || strings.Contains(script, module+folder) {
			replace += fmt.Sprintf("go mod edit -replace %s='%s'\n", module+folder, filepath.ToSlash(root+folder))
		}
	}
	script = strings.ReplaceAll(script, "go mod tidy\n", replace+"go mod tidy\n")
	return strings.ReplaceAll(script, "go install "+module+"/cmd/onceq@latest\n", "")
}

// environment is that of somebody who builds against the published modules. What
// this module needs is in the cache; the rest is asked for as usual.
func environment(t *testing.T) []string {
	env, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	return append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOSUMDB=off", "ONCEQ_STORE=",
		"GOPROXY=file://"+filepath.ToSlash(cache)+"/cache/download,"+proxy)
}

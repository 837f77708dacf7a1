package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// mutant is a fault planted into the text of a store: one place reads
// otherwise. The cases that are named must fail.
type mutant struct {
	name     string // what goes wrong
	file     string
	old, new string // old stands in the file once
	caughtBy []string
}

// The rules of a key are written down once in Go, and once more in SQL and
// in Lua. Each of these faults is a way in which a copy could drift, and
// each must be caught: the proof is proved too.
var mutants = slices.Concat(slices.Collect(maps.Values(mutantsOf))...)

var mutantsOf = map[string][]mutant{"redis": redisMutants, "postgres": postgresMutants, "sqlite": sqliteMutants,
	"guard": guardMutants, "limits": limitMutants, "periodic": periodicMutants}

// root is the folder of the module under test.
var root = func() string {
	path, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return path
}()

// mutated is the file with the fault in it.
func (m mutant) mutated(t *testing.T) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), m.old); n != 1 {
		t.Fatalf("%s has %d times %q, want once: plant this fault where its rule stands now", m.file, n, m.old)
	}
	return []byte(strings.Replace(string(raw), m.old, m.new, 1))
}

// suite builds the tests of a package with the fault in it.
func (m mutant) suite(t *testing.T, pkg string) (program string) {
	t.Helper()
	dir := t.TempDir()
	faulty, overlay := filepath.Join(dir, "faulty"), filepath.Join(dir, "overlay.json")
	program = filepath.Join(dir, "suite")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): faulty}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{faulty: m.mutated(t), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", program, "./"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s does not build with the fault: %v\n%s", pkg, err, out)
	}
	return program
}

// pkg is the package that has a test. A fault of what all stores share must be
// found by the suite of SQLite, or by a test of its own.
func (m mutant) pkg(test string) string {
	folder, _, _ := strings.Cut(m.file, "/")
	switch {
	case strings.HasSuffix(folder, "store"):
		return folder
	case strings.HasPrefix(m.file, "internal/cron/"):
		return "internal/cron"
	case strings.HasPrefix(test, "TestStoreInEightPartitions"), test == "TestTicksOfUniqueJobsLieWithTheirKeys":
		return "redisstore"
	case strings.HasPrefix(test, "TestStore/"), strings.HasPrefix(test, "TestModel/"):
		return "sqlitestore"
	}
	return "."
}

// run runs one case, or what a name of more cases stands for, and reports
// whether it failed.
func (m mutant) run(t *testing.T, program, name string, env []string) (failed bool, out string) {
	t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(name, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := []string{"-test.run", strings.Join(pattern, "/"), "-test.v", "-test.timeout", "3m"}
	if strings.HasPrefix(name, "TestModel") {
		args = append(args, "-rapid.nofailfile", "-rapid.shrinktime=1ms", "-rapid.checks=2000")
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = filepath.Join(root, m.pkg(name))
	cmd.Env = append(os.Environ(), env...)
	raw, err := cmd.CombinedOutput()
	out = string(raw)
	if !strings.Contains(out, "=== RUN   "+name+"\n") {
		t.Errorf("there is no case %s:\n%s", name, out)
	}
	return err != nil && strings.Contains(out, "--- FAIL: "+name+" "), out
}

// TestEveryPlantedFaultStillFits: the rules that the faults are planted
// into are where the list says.
func TestEveryPlantedFaultStillFits(t *testing.T) {
	named := map[string]bool{}
	for _, m := range mutants {
		name := m.file + ": " + m.name
		t.Run(name, func(t *testing.T) { m.mutated(t) })
		if named[name] || len(m.caughtBy) == 0 {
			t.Errorf("%s stands twice in the list, or nobody is to catch it", name)
		}
		named[name] = true
	}
}

// TestEveryPlantedFaultIsCaught plants one fault after the other. That
// takes some minutes (make mutants), so that the ordinary run plants only
// the first of each group. ONCEQ_MUTANTS=all plants all of them, else those
// of a group, or of a file or a name that contains it.
func TestEveryPlantedFaultIsCaught(t *testing.T) {
	which := os.Getenv("ONCEQ_MUTANTS")
	chosen := func(group string, i int, m mutant) bool {
		switch which {
		case "":
			return i == 0
		case "all", group:
			return true
		}
		return strings.Contains(m.file, which) || strings.Contains(m.name, which)
	}
	some := false
	for group, all := range mutantsOf {
		for i, m := range all {
			some = some || chosen(group, i, m)
		}
	}
	if !some {
		t.Fatalf("ONCEQ_MUTANTS=%s: no group, file or name of a fault contains it", which)
	}
	for group, all := range mutantsOf {
		t.Run(group, func(t *testing.T) {
			envs := map[string][]string{} // of a package: one server for all
			for i, m := range all {
				if !chosen(group, i, m) {
					continue
				}
				for _, name := range m.caughtBy {
					if pkg := m.pkg(name); envs[pkg] == nil {
						envs[pkg] = serverOf(t, pkg)
					}
				}
				t.Run(m.name, func(t *testing.T) { m.caught(t, envs) })
			}
		})
	}
}

// caught plants the fault, and wants it to be found by all that are to find it.
func (m mutant) caught(t *testing.T, envs map[string][]string) {
	programs := map[string]string{}
	for _, name := range m.caughtBy {
		pkg := m.pkg(name)
		if programs[pkg] == "" {
			programs[pkg] = m.suite(t, pkg)
		}
		if failed, out := m.run(t, programs[pkg], name, envs[pkg]); !failed {
			t.Errorf("%s: %q in place of %q passes %s\n%s", m.file, m.new, m.old, name, tail(out))
		}
	}
}

// serverOf starts the server of a store, as its tests want it.
func serverOf(t *testing.T, pkg string) []string {
	t.Helper()
	switch pkg {
	case "redisstore":
		return []string{"ONCEQ_TEST_REDIS=" + redistest.URL(t)}
	case "pgstore":
		return []string{"ONCEQ_TEST_POSTGRES=" + pgtest.Start(t, "-c", "fsync=off").URL()}
	}
	return []string{}
}

func tail(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// inStore names cases of the suite.
func inStore(cases ...string) (all []string) {
	for _, c := range cases {
		all = append(all, fmt.Sprint("TestStore/", c))
	}
	return all
}

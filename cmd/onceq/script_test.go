package main

import (
	"database/sql"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onceq/onceq/internal/pgtest"
)

func TestMain(m *testing.M) {
	// Whoever runs the tests with nohup or in the background has signals
	// ignored, and a command that is started here would inherit that. A signal
	// that is caught is not inherited.
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) && filepath.Base(os.Args[0]) != "onceq" { // the command is this program too
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	// Else each command under -race ends with a second of sleep.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(pgtest.Main(m), map[string]func(){"onceq": main,
		"remoteworker": remoteWorker}) // of servekill_test.go
}

// webhooks is where the deliveries of shared/data are on a machine that has
// them.
const webhooks = "../../../shared/data/github-webhooks.jsonl.gz"

func TestScripts(t *testing.T) {
	data, err := filepath.Abs(webhooks)
	if err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(data)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("WEBHOOKS", data)
			return nil
		},
		Condition: func(cond string) (bool, error) { return cond == "webhooks" && missing == nil, nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"usage": usageOf,
			"grab":  grab,
			"sql":   runSQL,
			"await": await,
		},
	})
}

// grab NAME REGEXP keeps what the expression finds (its first group, if it
// has one) in the output of the last command.
func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab NAME REGEXP")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("no match for %s in:\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], found[len(found)-1])
}

// sql FILE STATEMENT changes a store behind its back.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENT")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

// await FILE REGEXP waits until a file that another process writes matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	var text []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if text, _ = os.ReadFile(ts.MkAbs(args[0])); want.Match(text) {
			return
		}
	}
	ts.Fatalf("%s never matched %s:\n%s", args[0], args[1], text)
}

// usage LINE ARGS... runs onceq, which is to end with exit code 2, nothing
// on standard output and one line on standard error.
func usageOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: usage LINE ARGS...")
	}
	err := ts.Exec("sh", append([]string{"-c", `onceq "$@"; test $? = 2`, "sh"}, args[1:]...)...)
	if err != nil {
		ts.Fatalf("onceq %q: the exit code is not 2", args[1:])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("onceq %q: on standard output: %s", args[1:], out)
	}
	line := ts.ReadFile("stderr")
	if !regexp.MustCompile(`^`+args[0]).MatchString(line) || strings.Count(line, "\n") != 1 {
		ts.Fatalf("onceq %q:\n%s\nwant a line like\n%s", args[1:], line, args[0])
	}
}

package onceq_test

import (
	"context"
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestAWorkerSaysWhatItServesWhenItStartsAndEnds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		log := newLog()
		stop := b.serve(onceq.WorkerConfig{ServePeriodic: true, Logger: log.logger(),
			Queues: map[string]onceq.QueueConfig{"mail": {Concurrency: 2}, "default": {Concurrency: 10}}}, fine)
		clean(t, stop)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `level=INFO msg="onceq: worker started" worker=`) ||
			!strings.Contains(lines[0], ` queues="default=10,mail=2" kinds=mail lease=30s`) ||
			!strings.Contains(lines[1], `level=INFO msg="onceq: worker ended" worker=`) {
			t.Errorf("the log is\n%s", log)
		}
	})
}

// saysOnce checks the log of a worker, without its start and end.
func saysOnce(t *testing.T, log *logbook, want ...string) {
	t.Helper()
	var got []string
	for _, m := range regexp.MustCompile(`msg="(.*?)"`).FindAllStringSubmatch(log.String(), -1) {
		if m[1] != "onceq: worker started" && m[1] != "onceq: worker ended" {
			got = append(got, m[1])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log is\n%s", log)
	}
}

func TestAWorkerSaysOnceThatTheStoreIsAwayAndOnceThatItIsBack(t *testing.T) {
	for _, fate := range []fault{failsClean, failsUnsent, failsLate} {
		t.Run([]string{"", "refused", "cut", "", "", "", "no answer"}[fate], func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				log := newLog()
				stop := b.serve(onceq.WorkerConfig{Logger: log.logger(), Lease: 10 * time.Minute}, fine)
				var down atomic.Bool
				down.Store(true)
				store.from(func(string) fault {
					if down.Load() {
						return fate
					}
					return goesWell
				})
				pass(5 * time.Minute)
				saysOnce(t, log, "onceq: the store is away")
				down.Store(false)
				pass(time.Minute)
				saysOnce(t, log, "onceq: the store is away", "onceq: the store is back")
				if !regexp.MustCompile(`level=WARN msg="onceq: the store is back" worker=\S+ away=[45]m`).
					MatchString(log.String()) {
					t.Errorf("the log is\n%s", log)
				}
				down.Store(true)
				pass(time.Minute)
				down.Store(false)
				pass(time.Minute)
				clean(t, stop)
				saysOnce(t, log, "onceq: the store is away", "onceq: the store is back",
					"onceq: the store is away", "onceq: the store is back")
			})
		})
	}
	t.Run("from the beginning", func(t *testing.T) {
		inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
			store.from(func(string) fault { return failsClean })
			log := newLog()
			stop := b.serve(onceq.WorkerConfig{Logger: log.logger()}, fine)
			pass(time.Minute)
			store.heal()
			pass(time.Minute)
			clean(t, stop)
			saysOnce(t, log, "onceq: the store is away", "onceq: the store is back")
		})
	})
}

func TestAStoreThatOnlyRefusesOneCallIsNotAway(t *testing.T) {
	for _, op := range []string{"fetch", "finish", "sweep"} {
		t.Run(op, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				log := newLog()
				b.serve(onceq.WorkerConfig{Logger: log.logger()}, fine)
				b.enqueue(mail{})
				store.from(func(call string) fault {
					if call == op {
						return failsClean
					}
					return goesWell
				})
				for range 3 {
					pass(time.Second)
					b.enqueue(mail{})
				}
				pass(2 * time.Minute)
				said := map[string]string{"fetch": "onceq: fetch failed", "finish": "onceq: results not delivered",
					"sweep": "onceq: sweep failed"}[op]
				if log.has("away") || !log.has(said) || !log.has("failures=4") || log.has("failures=1 ") {
					t.Errorf("the log is\n%s", log)
				}
				store.heal()
			})
		})
	}
}

// logCalls are the functions that log, and which argument is the text.
var logCalls = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1,
	"WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2, "logRarely": 1, "log": 1}

// logWrappers pass on a text that is an argument of their own.
var logWrappers = []string{"logRarely", "log"}

// logTexts calls visit for every text in the module that is logged; text is
// "" where it is not constant.
func logTexts(t *testing.T, visit func(at token.Position, text string)) {
	t.Helper()
	goFiles(t, func(folder string, fset *token.FileSet, file *ast.File) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && receiver(f) != "" && slices.Contains(logWrappers, f.Name.Name) {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				i, logs := logCalls[method.Sel.Name]
				on := nameOf(method.X)
				isLogger := on == "slog" || strings.HasSuffix(strings.ToLower(on), "log") ||
					strings.HasSuffix(strings.ToLower(on), "logger")
				if logs && (isLogger || slices.Contains(logWrappers, method.Sel.Name)) && len(call.Args) > i {
					visit(fset.Position(call.Pos()), constant(call.Args[i]))
				}
				return true
			})
		}
	})
}

// nameOf is the last name of an expression such as c.config.Logger.
func nameOf(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.CallExpr: // slog.Default(), log.With(…)
		return nameOf(x.Fun)
	}
	return ""
}

// constant is the value of an expression that is a string literal, or several.
func constant(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(x.Value)
		return text
	case *ast.BinaryExpr:
		if a, b := constant(x.X), constant(x.Y); a != "" && b != "" {
			return a + b
		}
	}
	return ""
}

// longestText is how long the text of a log line may be.
const longestText = 50

func TestEveryLogLineHasAConstantShortTextThatTheDocsExplain(t *testing.T) {
	page, err := os.ReadFile("docs/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{} // and whether it is said
	for _, m := range regexp.MustCompile("(?m)^\\| `(onceq: .*?)` \\|").FindAllStringSubmatch(string(page), -1) {
		explained[m[1]] = false
	}
	logTexts(t, func(at token.Position, text string) {
		_, known := explained[text]
		switch {
		case text == "":
			t.Errorf("%s: the text of a log line is not constant: put what differs into attributes", at)
		case strings.HasPrefix(text, "guard: "): // TODO
		case !strings.HasPrefix(text, "onceq: "):
			t.Errorf("%s: %q does not begin with onceq:", at, text)
		case len(text) > longestText:
			t.Errorf("%s: %q is longer than %d bytes: put the rest into an attribute", at, text, longestText)
		case !known:
			t.Errorf("%s: %q is not in docs/logging.md", at, text)
		default:
			explained[text] = true
		}
	})
	for text, said := range explained {
		if !said {
			t.Errorf("docs/logging.md explains %q, which nothing logs", text)
		}
	}
}

func TestADuplicateIsLoggedWithoutWhatIsAbsent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		log := newLog()
		client, err := onceq.NewClient(b.store, &onceq.Config{Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, u := range []onceq.Unique{{}, {TTL: time.Hour}} {
				if _, err := client.Enqueue(context.Background(), mail{To: u.TTL.String()}, u); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || strings.Contains(lines[0], "frees_at") || !strings.Contains(lines[0], "since=") ||
			!strings.Contains(lines[1], "frees_at=") || log.has(`=""`) || log.has("=0001-01-01") {
			t.Errorf("the log is\n%s", log)
		}
	})
}

package onceq_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayUse says what each package may import outside the standard library.
// Reading it is reading the architecture: the root knows no store, stores
// do not know each other, and only storeurl and the command know them all.
var mayUse = map[string][]string{
	".": {"onceq/internal/batch", "onceq/internal/cron", "onceq/internal/fingerprint", "onceq/internal/dedup",
		"onceq/internal/reserved", "onceq/internal/jsontext", "onceq/internal/refusal", "onceq/internal/sleep",
		"onceq/internal/suspect",
		"go.opentelemetry.io/otel"},
	"internal/fingerprint": {},
	"internal/batch":       {},
	"internal/cron":        {},
	"internal/dedup":       {},
	"internal/refusal":     {},
	"internal/sleep":       {},
	"internal/suspect":     {},
	"internal/reserved":    {},
	"internal/jsontext":    {},
	"internal/wire":        {"onceq", "onceq/internal/jsontext"},
	"internal/nearest":     {},
	"internal/phrase":      {"onceq"},
	"internal/terms":       {"onceq", "onceq/internal/nearest"},
	"internal/listen":      {"onceq"},
	"internal/rules":       {"onceq", "onceq/internal/refusal"},
	"internal/storecopy":   {"onceq"},
	"internal/tally":       {"onceq"},
	"internal/fixture":     {"onceq"},
	"internal/memstore":    {"onceq", "onceq/internal/listen", "onceq/internal/rules", "onceq/internal/tally"},
	"sqlitestore": {"onceq", "onceq/internal/listen", "onceq/internal/rules", "onceq/internal/tally",
		"modernc.org/sqlite"},
	"pgstore": {"onceq", "onceq/internal/listen", "onceq/internal/rules", "onceq/internal/tally",
		"github.com/jackc/pgx/v5"},
	"redisstore": {"onceq", "onceq/internal/dedup", "onceq/internal/listen", "onceq/internal/rules",
		"onceq/internal/sleep", "onceq/internal/tally",
		"github.com/redis/go-redis/v9"},
	"storeurl": {"onceq", "onceq/sqlitestore", "onceq/pgstore", "onceq/redisstore"},
	"dashboard": {"onceq", "onceq/docs", "github.com/yuin/goldmark", "onceq/internal/fingerprint",
		"onceq/internal/idempotency", "onceq/internal/jsontext",
		"onceq/internal/nearest", "onceq/internal/phrase", "onceq/internal/terms", "onceq/internal/wire"},
	// Adapters of brokers, which are modules of their own.
	"guard/guardasynq":     {"onceq", "onceq/guard", "github.com/hibiken/asynq", "github.com/redis/go-redis/v9"},
	"guard/guardnats":      {"onceq", "onceq/guard", "github.com/nats-io/nats.go"},
	"guard/guardwatermill": {"onceq", "onceq/guard", "github.com/ThreeDotsLabs/watermill"},
	"guard/guardrecipes": {"onceq", "onceq/guard", "github.com/twmb/franz-go/pkg",
		"github.com/rabbitmq/amqp091-go"},
	"guard": {"onceq", "onceq/internal/batch", "onceq/internal/reserved", "onceq/internal/sleep",
		"onceq/internal/suspect", "go.opentelemetry.io/otel"},
	"guard/guardhttp":      {"onceq", "onceq/guard", "onceq/internal/idempotency"},
	"internal/idempotency": {},
	"storetest": {"onceq", "onceq/guard", "onceq/internal/reserved", "onceq/storetest/internal/effort",
		"onceq/storetest/internal/snapshot"},
	"storetest/internal/effort":   {},
	"storetest/internal/snapshot": {"onceq"},
	"storetest/model": {"onceq", "onceq/guard", "onceq/internal/memstore", "onceq/storetest",
		"onceq/storetest/internal/effort", "onceq/storetest/internal/snapshot", "pgregory.net/rapid",
		"github.com/anishathalye/porcupine"},
	"onceqtest":          {"onceq", "onceq/internal/memstore", "onceq/internal/fingerprint"},
	"internal/pgtest":    {"github.com/jackc/pgx/v5"},
	"internal/redistest": {"github.com/redis/go-redis/v9"},
	"internal/brokertest": {"onceq", "onceq/guard", "onceq/storeurl", "onceq/internal/pgtest",
		"onceq/internal/redistest"},
	"docs": {},
	"cmd/onceq": {"onceq", "onceq/dashboard", "onceq/docs", "onceq/guard", "onceq/internal/jsontext",
		"onceq/internal/nearest", "onceq/internal/phrase", "onceq/internal/sleep", "onceq/internal/storecopy",
		"onceq/internal/terms", "onceq/internal/wire", "onceq/storeurl", "onceq/sqlitestore", "onceq/pgstore",
		"github.com/jackc/pgx/v5",
		"github.com/redis/go-redis/v9/logging", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term",
		"golang.org/x/sys", "github.com/prometheus/client_golang/prometheus", "go.opentelemetry.io/otel"},
}

const module = "github.com/onceq/onceq"

func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == "bench" || path == "examples" || path == "test" || path == "testdata" ||
				strings.HasPrefix(path, ".") && path != "." {
				return fs.SkipDir // the first three are modules of their own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		allowed, known := mayUse[folder]
		if !known {
			t.Errorf("%s: package %s is not in the map of imports: add it, with what it may use", path, folder)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if !slices.ContainsFunc(allowed, func(a string) bool {
				if rest, ok := strings.CutPrefix(a, "onceq"); ok {
					return name == module+rest
				}
				return name == a || strings.HasPrefix(name, a+"/")
			}) {
				t.Errorf("%s imports %s, which the map of imports does not allow %s", path, name, folder)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

package pgstore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/onceq/onceq/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(tests{m})) }

// tests are those of the package, and the end of what they share.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	for _, d := range spare.all {
		if err := d.drop(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
		}
	}
	return code
}

// long makes tests of chance last ten times as long.
var long = os.Getenv("ONCEQ_LONG") != ""

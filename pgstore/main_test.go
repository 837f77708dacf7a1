package pgstore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/onceq/onceq/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// long makes tests of chance last ten times as long.
var long = os.Getenv("ONCEQ_LONG") != ""

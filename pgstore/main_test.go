package pgstore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/onceq/onceq/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

package dashboard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m).Run()) }

var worlds atomic.Int64

// onStores runs a test on every store: what a client sees must not depend on
// which one it is.
func onStores(t *testing.T, test func(t *testing.T, store onceq.Store)) {
	t.Run("memstore", func(t *testing.T) { test(t, memstore.New(nil)) })
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "q.db") },
		"postgres": func(t *testing.T) string { return pgtest.URL(t) },
		"redis":    func(t *testing.T) string { return redistest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at := url(t)
			if name != "sqlite" {
				sign := "?"
				if strings.Contains(at, "?") {
					sign = "&"
				}
				at += fmt.Sprintf("%snamespace=dash%d_%d", sign, os.Getpid(), worlds.Add(1))
			}
			store, err := storeurl.Open(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			test(t, store)
		})
	}
}

package brokertest

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// OnEachStore runs a test with the URL of a fresh store of each kind.
func OnEachStore(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "guard.db") },
		"postgres": func(t *testing.T) string { return inNamespace(pgtest.URL(t)) },
		"redis":    func(t *testing.T) string { return inNamespace(redistest.URL(t)) },
		"cluster":  func(t *testing.T) string { return inNamespace(redistest.ClusterURL(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, url(t))
		})
	}
}

// inNamespace is the URL with a namespace that nobody has used.
func inNamespace(url string) string {
	sign := "?"
	if strings.Contains(url, "?") {
		sign = "&"
	}
	return url + sign + "namespace=guard" + strings.ToLower(rand.Text())
}

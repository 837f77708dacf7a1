package storeurl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

func TestASQLiteURLNamesAFile(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:onceq.db":           "onceq.db",
		"sqlite:./a b?c#d.db":       "./a b?c#d.db",
		"sqlite:/abs/x.db":          "/abs/x.db",
		"sqlite:///abs/x.db":        "/abs/x.db",
		"sqlite::memory:":           "",
		"sqlite:":                   "",
		"sqlite://host/x.db":        "",
		"postgres://localhost/jobs": "",
	} {
		if got := File(url); got != want {
			t.Errorf("File(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestARefusedURLSaysWhatIsAccepted(t *testing.T) {
	const accepted = "sqlite:PATH, sqlite::memory:, postgres://…, redis://…, rediss://…, unix://…, " +
		"redis+sentinel://h1,h2/master/db, redis+cluster://h1,h2"
	for url, want := range map[string]string{
		"": "the store URL is empty: say one of " + accepted,
		"jobs.db": `store "jobs.db" has no scheme: for a SQLite file say sqlite:jobs.db ` +
			"(accepted: " + accepted + ")",
		"./a:b.db":                       `store "./a:b.db" has no scheme: for a SQLite file say sqlite:./a:b.db`,
		"mysql://localhost/":             `store scheme "mysql" is not supported: say one of ` + accepted,
		"sqlite:":                        `the store URL names no file: say sqlite:PATH, or sqlite::memory:`,
		"sqlite:x.db?mode=ro":            `a SQLite store has no options in its URL, and "mode=" is one`,
		"sqlite:x.db?a=b&_pragma=x":      `a SQLite store has no options in its URL, and "_pragma=" is one`,
		"sqlite:///tmp/x.db?namespace=a": `a SQLite store has no options in its URL, and "namespace=" is one`,
		"sqlite://jobs.db": "the store URL names a host, and a SQLite store is a file: " +
			"say sqlite:PATH or sqlite:///absolute/path",
	} {
		store, err := Open(t.Context(), url)
		if err == nil {
			_ = store.Close()
			t.Errorf("Open(%q) did not fail", url)
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Open(%q): %v\nwant %s", url, err, want)
		}
	}
}

func TestOpenMakesTheFileAndCreatesForetellsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	if got, err := Creates("sqlite:" + path); got != path || err != nil {
		t.Errorf("before: Creates = %q, %v", got, err)
	}
	store, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if got, err := Creates("sqlite:" + path); got != "" || err != nil {
		t.Errorf("after: Creates = %q, %v", got, err)
	}
}

func TestOpenKeepsAStoreInMemory(t *testing.T) {
	store, err := Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := store.Queues(t.Context(), onceq.QueuesRequest{}); len(all.Queues) != 0 || err != nil {
		t.Errorf("all.Queues: %v, %v", all, err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// writer is a store of its own server, and how much that has written: bytes of a
// log, or changes where it has none.
type writer struct {
	url   string
	wrote func() int64
	least int64 // what a job that is made writes at least
	note  int64 // what a note of ten kinds may write
	other int64 // what the server may write for itself
}

var writers = map[string]func(t *testing.T) writer{
	"sqlite": func(t *testing.T) writer {
		path := filepath.Join(t.TempDir(), "jobs.db")
		was, n := []byte(nil), int64(0)
		return writer{url: "sqlite:" + path, least: 4000, note: 64_000, wrote: func() int64 {
			now, err := os.ReadFile(path + "-wal")
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if !bytes.Equal(was, now) { // it may begin anew, and be as long as it was
				n += max(int64(len(now)-len(was)), 4096)
			}
			was = now
			return n
		}}
	},
	"postgres": func(t *testing.T) writer {
		url := pgtest.Start(t, "-c", "autovacuum=off").URL()
		return writer{url: url, least: 400, note: 64_000, other: 4000, wrote: func() (n int64) {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			err = conn.QueryRow(t.Context(), "select (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}}
	},
	"redis": func(t *testing.T) writer {
		url := redistest.Start(t).URL()
		options, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(options)
		t.Cleanup(func() { c.Close() })
		return writer{url: url, least: 5, note: 200, wrote: func() int64 {
			info, err := c.Info(t.Context(), "persistence").Result()
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(info, "rdb_changes_since_last_save:")
			n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}}
	},
}

// countsNotes is a store that counts the notes it gets.
type countsNotes struct {
	onceq.Store
	n atomic.Int64
}

func (s *countsNotes) Note(ctx context.Context, n onceq.Notes) error {
	s.n.Add(1)
	return s.Store.Note(ctx, n)
}

// TestDuplicatesWriteNothingAndTheTallyOneNoteAMinute measures what a server
// writes while there are nothing but duplicates, and what for a note; and counts
// the notes of an hour.
func TestDuplicatesWriteNothingAndTheTallyOneNoteAMinute(t *testing.T) {
	for name, start := range writers {
		t.Run(name, func(t *testing.T) { duplicatesWriteNothing(t, start(t)) })
	}
	synctest.Test(t, func(t *testing.T) {
		store := &countsNotes{Store: memstore.New(nil)}
		client, err := onceq.NewClient(store, &onceq.Config{Logger: quietLog})
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if _, err := client.Enqueue(t.Context(), onceq.JSON("mail", []byte("1")), onceq.Unique{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := store.n.Load(); n < 50 || n > 61 {
			t.Errorf("%d notes in an hour of duplicates, want one a minute", n)
		}
		client.Close()
	})
}

func duplicatesWriteNothing(t *testing.T, w writer) {
	store, err := storeurl.Open(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quietLog, NoTally: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	policies := []onceq.ConflictPolicy{onceq.Skip, onceq.Reject}
	enqueue := func(n, of int) {
		t.Helper()
		for i := range n {
			for _, policy := range policies {
				_, err := client.Enqueue(t.Context(), onceq.JSON("mail", fmt.Appendf(nil, `{"to":%d}`, i%of)),
					onceq.Unique{}, onceq.OnConflict(policy))
				if err != nil && !strings.Contains(err.Error(), "duplicate") {
					t.Fatal(err)
				}
			}
		}
	}
	measure := func(step func()) int64 {
		before := w.wrote()
		step()
		return w.wrote() - before
	}
	enqueue(1, 1) // what is made at the first use
	if n := measure(func() { enqueue(20, 20) }); n < 19*w.least {
		t.Errorf("19 jobs wrote %d: this test does not see what is written", n)
	}
	enqueue(20, 20) // a server may mark rows that it meets for the first time
	const times = 500
	n := measure(func() { enqueue(times, 20) })
	if t.Logf("%d duplicates wrote %d", times*len(policies), n); n > w.other {
		t.Errorf("%d duplicates wrote %d, want nothing (%d by the server itself)", times*len(policies), n, w.other)
	}
	notes := onceq.Notes{Nonce: [16]byte{1}}
	for i := range 10 {
		notes.Tallies = append(notes.Tallies, onceq.Tally{Queue: "default", Kind: fmt.Sprint("mail-", i),
			Terms: "by=kind,queue,args", Count: onceq.Count{Enqueued: [6]int64{1, 9}}})
	}
	if n := measure(func() { err = store.Note(t.Context(), notes) }); err != nil || n > w.note || n == 0 {
		t.Errorf("a note wrote %d, want at most %d: %v", n, w.note, err)
	} else {
		t.Logf("a note of ten kinds wrote %d", n)
	}
}

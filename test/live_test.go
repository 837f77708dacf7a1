package test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// onPages shows the pages of each store.
func onPages(t *testing.T, test func(t *testing.T, url string, v *visitor, client *onceq.Client)) {
	for name, start := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t, "-c", "fsync=off").URL() },
		"redis":    func(t *testing.T) string { return redistest.Start(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			store, err := storeurl.Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			client, err := onceq.NewClient(store, &onceq.Config{Logger: quietLog, NoTally: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			d, err := dashboard.New(client, &dashboard.Config{Authorize: dashboard.Everyone, Logger: quietLog})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			test(t, url, &visitor{t, pageServer(t, d)}, client)
		})
	}
}

var (
	doubled     = onceq.JSON("mail", []byte(`{"to":"ann@example.com","subject":"Welcome"}`))
	doubledOnly = onceq.Unique{Fields: []string{"to"}}
)

// enqueueTwice enqueues a job and its duplicates, until it is stopped.
func enqueueTwice(ctx context.Context, store onceq.Store, _ *ledger) error {
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quietLog})
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		if _, err := client.Enqueue(ctx, doubled, doubledOnly); err != nil && ctx.Err() == nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // the rate of the load
	}
	return nil
}

// TestADuplicateFromAnotherProcessAppearsOnConflictsAndItsKey has both pages open
// in a browser, and touches neither: each says by itself what another process
// does.
func TestADuplicateFromAnotherProcessAppearsOnConflictsAndItsKey(t *testing.T) {
	onPages(t, func(t *testing.T, url string, v *visitor, client *onceq.Client) {
		e, err := client.Explain(t.Context(), doubled, doubledOnly)
		if err != nil {
			t.Fatal(err)
		}
		conflicts, key := newTab(t, v.base), newTab(t, v.base)
		conflicts.open("conflicts")
		conflicts.wait(`document.body.innerText.includes('No duplicates yet')`)
		key.open("keys/" + e.Key.String())
		key.wait(`document.body.innerText.includes('Nobody holds this key')`)
		newStage(t, url).start("duplicates")
		key.wait(`document.body.innerText.includes('Held by job') || !!document.querySelector('.hero a.id')`)
		conflicts.wait(`['mail', 'skipped'].every(s => document.body.innerText.includes(s))`)
		key.wait(`/met by at least \d+ duplicates/.test(document.body.innerText)`)
	})
}

// counted serves pages, counts how often they load themselves and their streams,
// and refuses streams while deaf is set.
type counted struct {
	http.Handler
	loads, streams atomic.Int64
	deaf           atomic.Bool
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Onceq-Live") != "":
		c.loads.Add(1)
	case strings.HasSuffix(r.URL.Path, "/events"):
		if c.streams.Add(1); c.deaf.Load() {
			http.Error(w, "no streams here", http.StatusServiceUnavailable)
			return
		}
	}
	c.Handler.ServeHTTP(w, r)
}

// A page waits for events and does not ask in between; where there are none, it
// does ask.
func TestAPageFollowsEventsAndAsksOnlyWhereThereAreNone(t *testing.T) {
	w := newPageWorld(t)
	d, err := dashboard.New(w.client, &dashboard.Config{Authorize: dashboard.Everyone, Logger: quietLog})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	c := &counted{Handler: d}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	b := newTab(t, s.URL+"/")
	b.allow("503 (Service")
	appears := func(id string, within time.Duration) {
		t.Helper()
		began := time.Now()
		w.enqueue("mail", `{}`, onceq.ID(id))
		b.wait(fmt.Sprintf(`document.body.innerText.includes(%q)`, id))
		if took := time.Since(began); took > within {
			t.Errorf("%s appears after %s, want it within %s", id, took, within)
		}
	}
	b.open("jobs")
	b.wait(`document.getElementById('live').innerText.includes('Live')`)
	appears("by-an-event", 8*time.Second) // a look each 2 s, and the machine may be busy
	if n := c.streams.Load(); n != 1 {
		t.Errorf("%d streams", n)
	}
	before := c.loads.Load()
	time.Sleep(9 * time.Second) // nothing changes: one load by its clock
	if n := c.loads.Load() - before; n > 2 {
		t.Errorf("%d loads in 9 s in which nothing changed", n)
	}
	b.eval("document.getElementById('live').click(); ''") // stopped
	before = c.loads.Load()
	w.enqueue("mail", `{}`, onceq.ID("meanwhile"))
	time.Sleep(3 * time.Second)
	if n := c.loads.Load() - before; n > 0 {
		t.Errorf("%d loads of a page that is stopped", n)
	}
	c.deaf.Store(true)
	b.eval("document.getElementById('live').click(); ''")
	appears("by-asking", 20*time.Second)
	if text := b.eval("document.body.innerText"); !strings.Contains(text, "meanwhile") {
		t.Error("what came meanwhile is not there")
	}
}

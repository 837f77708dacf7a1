package redisstore

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// monitor sees each command that a server executes, those of scripts too.
type monitor struct {
	*bufio.Reader
	s *Store
}

func watch(t *testing.T, s *Store, addr string) *monitor {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &monitor{bufio.NewReader(conn), s}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := m.ReadString('\n'); line != "+OK\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return m
}

// rows are how many rows of large jobs have been read since it was last asked.
func (m *monitor) rows(t *testing.T) (n int) {
	t.Helper()
	end := fmt.Sprintf("%016x", mathrand.Uint64())
	if err := m.s.client.Echo(t.Context(), end).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := m.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, end) {
			return n
		}
		_, command, _ := strings.Cut(line, "] ")
		switch name, args, _ := strings.Cut(command, " "); strings.ToUpper(name) {
		case `"HGET"`, `"HMGET"`:
			n += strings.Count(args, ` "large `)
		case `"HGETALL"`, `"HVALS"`, `"HSCAN"`:
			if strings.Contains(args, `:jobs"`) {
				t.Errorf("whole rows are read: %s", command)
			}
		}
	}
}

// TestOnlyWhoNeedsArgsReadsThem counts how often the rows of large jobs are
// read. What else is known of them stands beside them.
func TestOnlyWhoNeedsArgsReadsThem(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 8} { // where there are eight, some get one job of a change
		t.Run(fmt.Sprint(parts), func(t *testing.T) { onlyWhoNeedsArgsReadsThem(t, parts) })
	}
}

func onlyWhoNeedsArgsReadsThem(t *testing.T, parts int) {
	server := redistest.Start(t)
	w := &bare{TB: t, s: open(t, server.URL(), Config{Partitions: parts})}
	m := watch(t, w.s, server.Addr)
	w.at(0)
	w.known("w")
	ctx := t.Context()
	args := make([]byte, 20_000)
	_, _ = rand.Read(args)
	large := func(r *onceq.NewRow) {
		r.Args, r.Encoding, r.RetentionFailed = args, onceq.EncodingBytes, time.Hour
	}
	var rows []onceq.NewRow
	for i := range 14 {
		id := fmt.Sprint("large ", i)
		r := newRow(id, large)
		if parts == 1 { // else a key of its own would lie elsewhere
			holding(id, onceq.UntilDeleted)(&r)
		}
		rows = append(rows, r)
	}
	w.add(rows[:10]...)
	m.rows(t) // whether there are such jobs already
	runs := w.start("w", 10)
	if n := m.rows(t); n != 10 {
		t.Fatalf("a fetch of ten jobs reads %d rows: the test proves nothing", n)
	}
	w.add(rows[10:]...)
	m.rows(t)
	beat := onceq.ExtendRequest{Worker: "w", Lease: time.Minute, FetchesDone: w.no}
	for _, j := range runs {
		beat.Runs = append(beat.Runs, onceq.Run{ID: j.ID, Run: j.Run})
	}
	end := func(i int, state onceq.State) error {
		return w.end(onceq.Finish{ID: runs[i].ID, State: state, Error: "why", Delay: time.Hour})
	}
	change := func(op onceq.Op, two ...string) error { // the answer for one alone has its args
		results, err := w.s.Change(ctx, onceq.Change{Op: op, IDs: two})
		for _, r := range results {
			if r.Err != nil {
				t.Errorf("a change of %q: %v", two, r.Err)
			}
		}
		return err
	}
	list := func(states ...onceq.State) error {
		page, err := w.s.List(ctx, onceq.ListRequest{Limit: 50, States: states})
		if err == nil && len(page.Jobs) == 0 {
			t.Errorf("a list of %v is empty", states)
		}
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a request to stop", func() error { return change(onceq.OpCancel, runs[0].ID, runs[9].ID) }},
		{"a heartbeat", func() error { return w.extend(beat) }},
		{"a completion", func() error { return end(0, onceq.Completed) }},
		{"a failure", func() error { return end(1, onceq.Retryable) }},
		{"a discard", func() error { return end(2, onceq.Discarded) }},
		{"a snooze", func() error { return end(3, onceq.Scheduled) }},
		{"run now", func() error { return change(onceq.OpRunNow, runs[1].ID, runs[3].ID) }},
		{"a cancel", func() error { return change(onceq.OpCancel, "large 10", "large 11") }},
		{"a retry", func() error { return change(onceq.OpRetry, "large 10", "large 11") }},
		{"a delete", func() error { return change(onceq.OpDelete, "large 12", "large 13") }},
		{"a list", func() error { return list() }},
		{"a list of what runs", func() error { return list(onceq.Running) }},
		{"a list of what has ended", func() error { return list(onceq.Completed, onceq.Discarded) }},
		{"keys", func() error { _, err := w.s.Keys(ctx, onceq.KeysRequest{Limit: 50}); return err }},
		{"queues", func() error { _, err := w.s.Queues(ctx, onceq.QueuesRequest{}); return err }},
		{"a sweep of a lost worker", func() error {
			w.at(2 * time.Minute)
			found, err := w.s.Sweep(ctx, onceq.SweepRequest{Limit: 100})
			w.must(err)
			lost, err := w.s.Sweep(ctx, onceq.SweepRequest{Limit: 100, Lost: found.Expired})
			if err == nil && len(lost.Runs) != 6 {
				t.Errorf("%d runs of a lost worker, want 6", len(lost.Runs))
			}
			return err
		}},
		{"pruning", func() error {
			w.at(2 * time.Hour)
			return w.sweep()
		}},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if n := m.rows(t); n > 0 {
			t.Errorf("%s reads %d rows", step.name, n)
		}
	}
	jobs, err := w.s.Get(ctx, []string{runs[5].ID})
	if err != nil || !bytes.Equal(jobs[0].Args, args) || m.rows(t) != 1 {
		t.Errorf("%+v: %v", jobs, err)
	}
	sound(t, w.s)
}

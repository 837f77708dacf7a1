package redisstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// ran is how often a server has run a command.
func ran(server *redistest.Server, command string) int {
	stats := fmt.Sprint(server.Do("info", "commandstats"))
	if m := regexp.MustCompile(`cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(stats); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// TestADuplicateNeedsNoScript, by itself or in a call of several.
func TestADuplicateNeedsNoScript(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, parts := range []int{1, 4} {
		s := open(t, server.URL(), Config{Partitions: parts, Namespace: fmt.Sprint("parts", parts)})
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(50, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Enqueue(t.Context(), task{0}, onceq.Unique{}); err != nil { // it reads the profile once
			t.Fatal(err)
		}
		if _, err := c.EnqueueMany(t.Context(), items(50, 0)); err != nil {
			t.Fatal(err)
		}
		before := ran(server, "evalsha")
		for i := range 50 {
			if r, err := c.Enqueue(t.Context(), task{i}, onceq.Unique{}); err != nil || !r.Duplicate() {
				t.Fatal(r.Outcome, err)
			}
		}
		receipts, err := c.EnqueueMany(t.Context(), items(50, 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			if !r.Duplicate() {
				t.Errorf("%d partitions: %s", parts, r.Outcome)
			}
		}
		if n := ran(server, "evalsha") - before; n != 0 {
			t.Errorf("%d partitions: %d scripts for 100 duplicates", parts, n)
		}
		healthy(t, s)
	}
}

// TestKeysThatChangeHandsAreNotLookedUp any more: each look would cost a trip
// and settle nothing.
func TestKeysThatChangeHandsAreNotLookedUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	change := func() {
		r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{})
		if err != nil || r.Outcome != onceq.Inserted {
			t.Fatal(r.Outcome, err)
		}
		if err := c.Delete(t.Context(), r.Job.ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		change()
	}
	before := ran(server, "multi")
	for range 100 {
		change()
	}
	if n := ran(server, "multi") - before; n > 5 {
		t.Errorf("%d looks for 100 keys that had changed hands", n)
	}
	if _, err := c.Enqueue(t.Context(), task{2}, onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	for range 2 * trust { // it learns that keys stay now
		if r, err := c.Enqueue(t.Context(), task{2}, onceq.Unique{}); err != nil || !r.Duplicate() {
			t.Fatal(r.Outcome, err)
		}
	}
	before = ran(server, "evalsha")
	if r, err := c.Enqueue(t.Context(), task{2}, onceq.Unique{}); err != nil || !r.Duplicate() {
		t.Fatal(r.Outcome, err)
	}
	if n := ran(server, "evalsha") - before; n != 0 {
		t.Errorf("%d scripts for a duplicate after many", n)
	}
	healthy(t, s)
}

// TestWithoutTheRightToMultiScriptsAnswer, and no connection is left in a
// MULTI that it may not end.
func TestWithoutTheRightToMultiScriptsAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, also := range []string{"", " +multi", " +exec"} {
		rule := []any{"acl", "setuser", "jobs", "reset", "on", ">secret"}
		for _, word := range strings.Fields(fmt.Sprintf(strings.NewReplacer("+multi", "", "+exec", "").Replace(acl),
			"mine") + also) {
			rule = append(rule, word)
		}
		server.Do(rule...)
		s := open(t, "redis://jobs:secret@"+server.Addr, Config{Namespace: "mine"})
		c := clientOf(t, s)
		for range 5 {
			if _, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil {
				t.Fatalf("with%s: %v", also, err)
			}
		}
		if s.holders.may.Load() >= 0 {
			t.Errorf("with%s: it still tries", also)
		}
		healthy(t, s)
	}
}

// TestAFlushedServerHoldsNothing that is remembered here.
func TestAFlushedServerHoldsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	for range 3 {
		for i, want := range []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Skipped} {
			if r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil || r.Outcome != want {
				t.Errorf("enqueue %d: %s, want %s (%v)", i, r.Outcome, want, err)
			}
		}
		server.Do("flushall")
	}
}

// TestALookWithoutItsTokenSettlesNothing: it is the answer to another request.
func TestALookWithoutItsTokenSettlesNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	row, err := c.Prepare(task{1}, onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	rows, results := []onceq.NewRow{row}, make([]onceq.EnqueueResult, 1)
	l := looks.Get().(*look)
	defer l.done()
	_, m := s.holders.find(r.Job.Key)
	l.part, l.rows, l.memories = 0, append(l.rows[:0], 0), append(l.memories[:0], m)
	for _, stale := range []bool{false, true} {
		pipe := s.conns.usual.Pipeline()
		_ = pipe.BatchProcess(t.Context(), l.ask(t.Context(), s.parts[0], rows)...)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stale {
			l.token = newToken()
		}
		if n := s.seen(t.Context(), rows, l, results); (n == 0) != stale {
			t.Errorf("a stale answer (%v) settled %d rows", stale, n)
		}
	}
}

// TestWithAcksADuplicateWaitsToo until the job that it met will last.
func TestWithAcksADuplicateWaitsToo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r, err := clientOf(t, open(t, server.URL(), Config{})).Enqueue(t.Context(), task{1}, onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, server.URL(), Config{AckReplicas: 1, AckTimeout: 1})
	s.holders.note(r.Job.Key, []byte(packID(r.Job.ID)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := clientOf(t, s).Enqueue(ctx, task{1}, onceq.Unique{}); err == nil {
		t.Error("there is no replica, and no error")
	}
	if n := ran(server, "multi"); n != 0 {
		t.Errorf("%d plain reads", n)
	}
}

// TestAThousandKeysAreRemembered, all of them: each that is not costs the batch
// that it is in a second trip.
func TestAThousandKeysAreRemembered(t *testing.T) {
	var h holders
	keys := make([]onceq.Key, 1000)
	for i := range keys {
		keys[i] = sha256.Sum256([]byte(strconv.Itoa(i)))
		h.note(&keys[i], []byte(packID(fmt.Sprintf("%026d", i))))
	}
	lost := 0
	for i := range keys {
		if _, m := h.find(&keys[i]); m == nil || unpackID(string(m.holder[:])) != fmt.Sprintf("%026d", i) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 1000 keys are forgotten", lost)
	}
}

// TestKeysThatBeginAlikeAreToldApart, and a key that is forgotten leaves its slot
// to another.
func TestKeysThatBeginAlikeAreToldApart(t *testing.T) {
	var h holders
	var keys [2 * ways]onceq.Key
	holder := []byte(packID(fmt.Sprintf("%026d", 1)))
	for i := range keys {
		keys[i][8] = byte(i)
	}
	for i := range ways {
		h.note(&keys[i], holder)
	}
	for i := range keys {
		if _, m := h.find(&keys[i]); (m != nil) != (i < ways) || m != nil && m.key != keys[i] {
			t.Errorf("key %d: %v", i, m)
		}
	}
	_, gone := h.find(&keys[3])
	h.forget(gone)
	h.note(&keys[ways], holder)
	for i := range ways + 1 {
		if _, m := h.find(&keys[i]); (m != nil) != (i != 3) {
			t.Errorf("after one was forgotten, key %d: %v", i, m)
		}
	}
}

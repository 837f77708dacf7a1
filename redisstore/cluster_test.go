package redisstore

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq/internal/redistest"
)

// TestASlotThatMovesUnderLoad moves partitions from node to node, key by
// key, while jobs are enqueued and run. While a partition is in part on
// either side a script is answered with TRYAGAIN before it writes anything:
// nobody sees an error, and nothing is half done.
func TestASlotThatMovesUnderLoad(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	cluster := redistest.StartCluster(t, 2, 0)
	s := open(t, cluster.URL(), Config{Partitions: 4})
	l := startGently(t, 2*time.Millisecond, s, open(t, cluster.URL(), Config{}))
	l.accepts(300)
	for p, part := range s.parts {
		pause := func() { time.Sleep(30 * time.Millisecond) }
		move(t, cluster, part, pause)
		if l.accepts(20); p == 0 { // and back
			move(t, cluster, part, pause)
			l.accepts(20)
		}
	}
	l.accepts(200)
	l.end()
	if len(l.errs) > 0 || l.uncertain > 0 {
		t.Errorf("errors: %v; %d answers uncertain", l.errs, l.uncertain)
	}
	if jobs, ends := l.losses(s, time.Now()); jobs+ends > 0 {
		t.Errorf("of %d accepted jobs %d are lost, and %d ends", len(l.acked), jobs, ends)
	}
	healthy(t, s)
	sound(t, s)
}

// move moves the slot of a partition to the other of two masters, and calls
// between with one, two and three of its keys there.
func move(t *testing.T, cluster *redistest.Cluster, part *partition, between func()) {
	t.Helper()
	at := slot(tagOf(part.keys[0]))
	from, to := cluster.Masters[0], cluster.Masters[1]
	owned := from.Do("cluster", "nodes").(string)
	if !owns(owned, from.NodeID(), at) {
		from, to = to, from
	}
	to.Do("cluster", "setslot", at, "importing", from.NodeID())
	from.Do("cluster", "setslot", at, "migrating", to.NodeID())
	host, port, _ := strings.Cut(to.Addr, ":")
	for i, key := range part.keys {
		if i > 0 && between != nil {
			between()
		}
		from.Do("migrate", host, port, key, 0, 5000)
	}
	for _, s := range []*redistest.Server{to, from} {
		s.Do("cluster", "setslot", at, "node", to.NodeID())
	}
}

// owns reads whether a node serves a slot off the answer of CLUSTER NODES.
func owns(nodes, id string, at int) bool {
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] != id {
			continue
		}
		for _, stretch := range fields[8:] {
			a, b, ranged := strings.Cut(stretch, "-")
			if !ranged {
				b = a
			}
			if from, to := atoi(a), atoi(b); from >= 0 && at >= from && at <= to {
				return true
			}
		}
	}
	return false
}

func atoi(s string) int {
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// TestAPartitionInPartElsewhereIsLeftAlone: with two of its four keys
// moved, every script on it is refused before it writes.
func TestAPartitionInPartElsewhereIsLeftAlone(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	cluster := redistest.StartCluster(t, 2, 0)
	s := open(t, cluster.URL(), Config{Partitions: 2, Patience: 100 * time.Millisecond})
	c := clientOf(t, s)
	if _, err := c.EnqueueMany(t.Context(), items(100, 0)); err != nil {
		t.Fatal(err)
	}
	part := s.parts[0]
	done := false
	move(t, cluster, part, func() {
		if done {
			return
		}
		done = true
		n := 0
		for i := range 20 {
			_, err := c.Enqueue(t.Context(), task{1000 + i})
			if err != nil {
				n++
				if !strings.Contains(err.Error(), "TRYAGAIN") {
					t.Errorf("%v, want TRYAGAIN, which is definite", err)
				}
			}
			if n == 2 {
				break
			}
		}
		if n == 0 {
			t.Error("no script met the partition that is in part elsewhere")
		}
	})
	if r := healthy(t, s); r.Jobs < 100 || r.Jobs > 120 {
		t.Errorf("%d jobs", r.Jobs)
	}
	sound(t, s)
}

// TestAFailoverUnderLoad fails a master over to its replica as an operator
// does, then kills another. The first loses nothing; the second may lose
// what its replica did not have yet, and every such loss is told.
func TestAFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	cluster := redistest.StartCluster(t, 3, 1)
	s := open(t, cluster.URL(), Config{Partitions: 6, Patience: 20 * time.Second})
	l := startGently(t, 2*time.Millisecond, s)
	l.accepts(300)
	before := time.Now()
	promoted(t, cluster.Replicas[0], true)
	l.accepts(300)
	t.Logf("failed over by hand in %v", time.Since(before).Round(time.Millisecond))
	if len(l.errs) > 0 {
		t.Errorf("errors: %v", l.errs)
	}
	before = time.Now()
	cluster.Masters[1].Kill()
	l.accepts(300)
	promoted(t, cluster.Replicas[1], false)
	l.accepts(300)
	l.end()
	jobs, ends := l.losses(s, time.Now())
	older, olderEnds := l.losses(s, before.Add(-time.Second))
	t.Logf("a master was killed: of %d accepted jobs %d are lost, of %d ends %d; %d answers uncertain; errors: %v",
		len(l.acked), jobs, len(l.completed), ends, l.uncertain, l.errs)
	if older+olderEnds > 0 {
		t.Errorf("%d jobs and %d ends are lost that were acknowledged a second before the master was killed",
			older, olderEnds)
	}
	healthy(t, s)
	sound(t, s)
}

// promoted waits until a replica is a master, asking for it where that is
// said: on a busy machine a node may be too late, and then gives it up.
func promoted(t *testing.T, replica *redistest.Server, ask bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for i := 0; replica.Do("role").([]any)[0] != "master"; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still no master:\n%s", replica.Addr, replica.Log())
		}
		if ask && i%600 == 0 {
			replica.Do("cluster", "failover")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSentinelsFailOver(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	trio := redistest.StartSentinels(t)
	s := open(t, trio.URL(), Config{Patience: 20 * time.Second})
	l := startGently(t, 5*time.Millisecond, s)
	l.accepts(200)
	before := time.Now()
	trio.Master.Kill()
	l.accepts(200)
	took := time.Since(before)
	l.end()
	jobs, ends := l.losses(s, time.Now())
	older, olderEnds := l.losses(s, before.Add(-time.Second))
	t.Logf("the master was killed, and %v later 200 more were accepted: of %d accepted jobs %d are lost, of %d ends "+
		"%d; %d answers uncertain; errors: %v",
		took.Round(time.Millisecond), len(l.acked), jobs, len(l.completed), ends, l.uncertain, l.errs)
	if older+olderEnds > 0 {
		t.Errorf("%d jobs and %d ends are lost that were acknowledged a second before", older, olderEnds)
	}
	healthy(t, s)
	sound(t, s)
}

// TestAClientThatRetriesByItself: a caller's own client with retries never
// runs a step twice.
func TestAClientThatRetriesByItself(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	own := redis.NewClient(&redis.Options{Addr: proxy.addr, MaxRetries: 5})
	defer func() { _ = own.Close() }()
	s, err := New(own, &Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := clientOf(t, s)
	r, err := c.Enqueue(context.Background(), task{1})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Delete(t.Context(), "another") // the server knows the script now
	proxy.cut.Store(1)
	if err := c.Delete(t.Context(), r.Job.ID); err == nil {
		t.Error("the answer was cut, and nobody says so: was it sent twice?")
	}
	if j, err := s.Get(t.Context(), []string{r.Job.ID}); err != nil || j[0] != nil {
		t.Error("the job was not deleted", err)
	}
}

package redisstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// task is a job for tests.
type task struct {
	N int `json:"n"`
}

func (task) Kind() string { return "task" }

func clientOf(t testing.TB, s onceq.Store) *onceq.Client {
	t.Helper()
	c, err := onceq.NewClient(s, &onceq.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fresh is a store under a namespace of its own on the shared server.
func fresh(t testing.TB, c Config) *Store {
	t.Helper()
	c.Namespace = namespace()
	s := open(t, redistest.URL(t), c)
	side := s.client
	t.Cleanup(func() {
		for _, p := range s.parts {
			side.Unlink(context.Background(), p.keys...)
		}
	})
	return s
}

// healthy wants the invariants to hold on the whole store.
func healthy(t testing.TB, s *Store) onceq.DoctorReport {
	t.Helper()
	c, err := onceq.NewClient(s, &onceq.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	report, err := c.Doctor(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Error(v)
	}
	return report
}

func items(n int, from int) []onceq.Item {
	all := make([]onceq.Item, n)
	for i := range all {
		all[i] = onceq.NewItem(task{from + i}, onceq.Unique{})
	}
	return all
}

func TestTheNumberOfPartitionsIsFixedAtTheFirstUse(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 5})
	url, name := redistest.URL(t), s.config.Namespace
	if n := open(t, url, Config{Namespace: name}).Partitions(); n != 5 {
		t.Errorf("opened again with %d partitions", n)
	}
	_, err := Open(t.Context(), url, &Config{Namespace: name, Partitions: 4, Logger: quiet})
	var invalid *onceq.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "Config.Partitions" || !strings.Contains(err.Error(), "must be 5") {
		t.Errorf("opened with another number: %v", err)
	}
}

func TestACallersIDWithAKeyElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 8})
	c := clientOf(t, s)
	refused, kept := 0, 0
	for i := range 64 {
		r, err := c.Enqueue(t.Context(), task{i}, onceq.Unique{}, onceq.ID(fmt.Sprint("id ", i)))
		var invalid *onceq.InvalidError
		switch {
		case err == nil && r.Outcome == onceq.Inserted:
			kept++
		case errors.As(err, &invalid) && invalid.Field == "ID" && !errors.Is(err, onceq.ErrUncertain):
			refused++
		default:
			t.Fatal(r.Outcome, err)
		}
	}
	if kept == 0 || refused == 0 || kept > 24 {
		t.Errorf("%d were kept and %d refused; about one in 8 lies where its key does", kept, refused)
	}
	for i := range 64 {
		if _, err := c.Enqueue(t.Context(), task{i}, onceq.ID(fmt.Sprint("alone ", i))); err != nil {
			t.Error(err)
		}
		if j, err := c.Job(t.Context(), fmt.Sprint("alone ", i)); err != nil || j.ID != fmt.Sprint("alone ", i) {
			t.Error(j, err)
		}
	}
	healthy(t, s)
}

func TestAMadeIDFallsWhereItsKeyLies(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 24})
	for i := range 1000 {
		key := onceq.Key{byte(i), byte(i >> 8), 7}
		id := s.Place(fmt.Sprintf("%023dZZZ", i), &key)
		if s.ofID(id) != s.ofKey(&key) || len(id) != 26 || id[:23] != fmt.Sprintf("%023d", i) || !made(id) {
			t.Fatalf("placed as %q", id)
		}
	}
}

// TestOneQueueIsFetchedInOrderFromAllPartitions has priorities, run times and IDs mixed over partitions.
func TestOneQueueIsFetchedInOrderFromAllPartitions(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 8})
	c := clientOf(t, s)
	for i := range 500 {
		if _, err := c.Enqueue(t.Context(), task{i}, onceq.Unique{}, onceq.Priority(i*7%10)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var got []*onceq.JobRow
	for no := int64(1); len(got) < 500; no++ {
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 33}}})
		if err != nil || len(f.Jobs) == 0 {
			t.Fatal(len(got), err)
		}
		got = append(got, f.Jobs...)
	}
	if !slices.IsSortedFunc(got, func(a, b *onceq.JobRow) int {
		if a.Priority != b.Priority {
			return a.Priority - b.Priority
		}
		return a.RunAt.Compare(b.RunAt)
	}) {
		t.Error("they were not fetched in order")
	}
}

// TestAKindBehindManyOthersIsFound: a script looks at a bounded number of jobs, a fetch goes on.
func TestAKindBehindManyOthersIsFound(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 3} {
		s := fresh(t, Config{Partitions: parts})
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(3500, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Enqueue(t.Context(), onceq.JSON("rare", []byte("1")), onceq.Priority(9)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}, Kinds: []string{"rare"}})
		if err != nil || len(f.Jobs) != 1 || f.Jobs[0].Kind != "rare" {
			t.Errorf("%d partitions: %d jobs, %v", parts, len(f.Jobs), err)
		}
		if f.NextDue >= 0 {
			t.Errorf("%d partitions: next due in %v, and there is none of that kind", parts, f.NextDue)
		}
	}
}

// TestNumbersBeyondFourteenDigitsStayExact: Lua prints a number with %.14g.
func TestNumbersBeyondFourteenDigitsStayExact(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	at := time.UnixMilli(1<<47 + 123456789012345 - 7).UTC() // 15 digits
	setClock(t, s, at)
	j, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{Until: onceq.UntilFinished, Window: 12345 * time.Millisecond}, onceq.Delay(1001*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	read := func() *onceq.JobRow {
		row, err := c.Job(t.Context(), j.Job.ID)
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	if row := read(); !row.EnqueuedAt.Equal(at) || !row.RunAt.Equal(at.Add(1001*time.Millisecond)) || !row.Anchor.Equal(row.RunAt) {
		t.Errorf("enqueued at %d, to run at %d, want %d", row.EnqueuedAt.UnixMilli(), row.RunAt.UnixMilli(), at.UnixMilli())
	}
	at = at.Add(1001 * time.Millisecond)
	setClock(t, s, at)
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	no := int64(1<<47 + 1234567891)
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
	if err != nil || len(f.Jobs) != 1 {
		t.Fatal(len(f.Jobs), err)
	}
	// A fetch number one lower hands nothing back; the same one does.
	for _, e := range []struct {
		done int64
		back int
	}{{no - 1, 0}, {no, 1}} {
		if x, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute, FetchesDone: e.done}); err != nil || x.Back != e.back {
			t.Errorf("fetches done %d: %d handed back, want %d (%v)", e.done, x.Back, e.back, err)
		}
	}
	if f, err = s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no + 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}}); err != nil || len(f.Jobs) != 1 {
		t.Fatal(len(f.Jobs), err)
	}
	if _, err := s.Finish(t.Context(), []onceq.Finish{{ID: j.Job.ID, Run: 2, Worker: "w", State: onceq.Completed}}); err != nil {
		t.Fatal(err)
	}
	held, err := c.Key(t.Context(), *j.Job.Key)
	if err != nil || !held.FreesAt.Equal(at.Add(12345*time.Millisecond)) || !read().FinishedAt.Equal(at) {
		t.Errorf("frees at %v, want %v (%v)", held, at.Add(12345*time.Millisecond), err)
	}
	sound(t, s)
}

// TestMemoryFullIsDefiniteAndNothingIsHalfDone: each enqueue is taken as a whole or refused as a whole, and what runs can finish.
func TestMemoryFullIsDefiniteAndNothingIsHalfDone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, parts := range []int{1, 4} {
		server.Do("flushall")
		server.Do("config", "set", "maxmemory", 0)
		s := open(t, server.URL(), Config{Partitions: parts, Patience: 100 * time.Millisecond})
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(300, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
		if err != nil || len(f.Jobs) != 100 {
			t.Fatal(len(f.Jobs), err)
		}
		server.Do("config", "set", "maxmemory", "1mb")
		for _, enqueue := range []func() error{
			func() error { _, err := c.Enqueue(t.Context(), task{1000}, onceq.Unique{}); return err },
			func() error {
				_, err := c.Enqueue(t.Context(), task{1001}, onceq.Unique{TTL: time.Hour}, onceq.Delay(time.Hour))
				return err
			},
			func() error { _, err := c.Enqueue(t.Context(), task{1002}, onceq.ID("mine")); return err },
			func() error { _, err := c.EnqueueMany(t.Context(), items(500, 2000)); return err },
			func() error {
				_, err := c.Enqueue(t.Context(), task{150}, onceq.Unique{}, onceq.OnConflict(onceq.Supersede))
				return err
			},
		} {
			if err := enqueue(); err == nil || errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "OOM") {
				t.Errorf("%d partitions: %v, want a definite error that says OOM", parts, err)
			}
		}
		if _, err := c.Enqueue(t.Context(), task{150}, onceq.Unique{}); err != nil {
			t.Errorf("a duplicate writes nothing, and got %v", err)
		}
		var ends []onceq.Finish
		for i, j := range f.Jobs {
			state := onceq.Completed
			if i%3 == 0 {
				state = onceq.Retryable
			}
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: state, Error: strings.Repeat("no luck ", i%2)})
		}
		if _, err := s.Finish(t.Context(), ends); err != nil {
			t.Errorf("what runs cannot finish: %v", err)
		}
		if f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 2, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}}); err != nil || len(f.Jobs) != 10 {
			t.Errorf("fetched %d: %v", len(f.Jobs), err)
		}
		if r := healthy(t, s); r.Jobs != 300 {
			t.Errorf("%d jobs are there, want 300", r.Jobs)
		}
		sound(t, s)
		server.Do("config", "set", "maxmemory", 0)
	}
}

// TestAScriptTheServerDoesNotKnowIsBroughtThere: also to a pipeline of several.
func TestAScriptTheServerDoesNotKnowIsBroughtThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Partitions: 4})
	c := clientOf(t, s)
	for i := range 5 {
		server.Do("script", "flush")
		receipts, err := c.EnqueueMany(t.Context(), items(1000, 500*i))
		if err != nil {
			t.Fatal(err)
		}
		for k, r := range receipts {
			if want := i > 0 && k < 500; r.Duplicate() != want {
				t.Fatalf("round %d, item %d: %s", i, k, r.Outcome)
			}
		}
		server.Do("script", "flush")
		if _, err := c.Enqueue(t.Context(), task{-i - 1}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
	}
	if r := healthy(t, s); r.Jobs != 3005 {
		t.Errorf("%d jobs", r.Jobs)
	}
}

func TestAnAnswerOfAnotherRequestIsNotTaken(t *testing.T) {
	tr := &trip{script: luaGet, token: "12345678"}
	c := call{redis.NewCmd(t.Context())}
	for _, reply := range [][]any{{"87654321", "\x00\x00\x00\x00\x00\x01", []any{}}, {}, {"12345678"}, {int64(1), "x"}} {
		c.SetVal(reply)
		if err := tr.read(c); err == nil || definite(err) {
			t.Errorf("%q: %v, want an error that says nothing of what happened", reply, err)
		}
	}
	c.SetVal([]any{"12345678", "\x00\x00\x00\x00\x00\x01", []any{}})
	if err := tr.read(c); err != nil || tr.now != 1 {
		t.Error(tr.now, err)
	}
}

func TestAFlushedServerBeginsAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Partitions: 3})
	c := clientOf(t, s)
	for round := range 3 {
		receipts, err := c.EnqueueMany(t.Context(), items(100, 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			if r.Outcome != onceq.Inserted {
				t.Fatalf("round %d: %s", round, r.Outcome)
			}
		}
		if j, err := c.Job(t.Context(), receipts[0].Job.ID); err != nil || j.Queue != "default" {
			t.Fatal(err)
		}
		server.Do("flushall")
	}
	healthy(t, s)
}

// fake answers INFO as a server of another version would.
func fake(t *testing.T, info string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if !strings.HasPrefix(line, "*") {
						continue
					}
					var n int
					_, _ = fmt.Sscanf(line, "*%d", &n)
					var words []string
					for range n {
						_, _ = r.ReadString('\n')
						word, _ := r.ReadString('\n')
						words = append(words, strings.ToLower(strings.TrimSpace(word)))
					}
					switch {
					case len(words) > 0 && words[0] == "info":
						_, _ = fmt.Fprintf(c, "$%d\r\n%s\r\n", len(info), info)
					default:
						_, _ = fmt.Fprint(c, "-ERR unknown command\r\n")
					}
				}
			})
		}
	})
	return "redis://" + l.Addr().String()
}

func TestAServerThatWouldBreakAPromiseIsRefused(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]string{
		"redis_version:6.0.16\r\nmaxmemory_policy:noeviction\r\n":                                   "Redis 6.2",
		"redis_version:7.0.0\r\nmaxmemory_policy:allkeys-lru\r\n":                                   "maxmemory-policy allkeys-lru",
		"redis_version:7.0.0\r\nmaxmemory_policy:volatile-ttl\r\n":                                  "maxmemory-policy noeviction",
		"redis_version:7.0.0\r\nrole:slave\r\nmaster_host:elsewhere\r\nmaster_port:1\r\n":           "replica",
		"redis_version:7.0.0\r\ncluster_enabled:1\r\n":                                              "redis+cluster://",
		"redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nmaxmemory_policy:allkeys-random\r\n":        "maxmemory-policy",
		"redis_version:5.0.14\r\nvalkey_version:\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n": "6.2",
	} {
		s, err := Open(t.Context(), fake(t, info), &Config{Logger: quiet})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", info, err, want)
		}
	}
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	if _, err := Open(t.Context(), server.URL(), &Config{Logger: quiet}); err == nil {
		t.Error("a server that evicts was opened")
	}
	s := open(t, server.URL(), Config{AllowEviction: true})
	if !strings.HasPrefix(s.Server(), "Redis ") && !strings.HasPrefix(s.Server(), "Valkey ") {
		t.Errorf("the server is %q", s.Server())
	}
}

// TestWithAckAOFAnAnswerMeansThatTheJobIsOnDisk: and where a replica is to have it that does not, the answer is uncertain, and the job exists. A server that is too old for it is refused.
func TestWithAckAOFAnAnswerMeansThatTheJobIsOnDisk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	if product, version, _ := strings.Cut(open(t, server.URL(), Config{}).Server(), " "); product == "Redis" && !atLeast(version, 7, 2) {
		if _, err := Open(t.Context(), server.URL(), &Config{AckAOF: true, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "7.2") {
			t.Errorf("AckAOF on Redis %s: %v", version, err)
		}
		return
	}
	patient := open(t, server.URL(), Config{AckAOF: true, AckTimeout: 10 * time.Second})
	for n := range 3 {
		r, err := clientOf(t, patient).Enqueue(t.Context(), task{n}, onceq.Unique{})
		if err != nil || r.Outcome != onceq.Inserted {
			t.Errorf("%v, %v", r.Outcome, err)
		}
	}
	if stats := server.Do("info", "commandstats").(string); !strings.Contains(stats, "cmdstat_waitaof:calls=") {
		t.Error("WAITAOF was not called")
	}
	alone := open(t, server.URL(), Config{AckAOF: true, AckReplicas: 1, AckTimeout: 50 * time.Millisecond})
	_, err := clientOf(t, alone).Enqueue(t.Context(), task{10}, onceq.Unique{})
	var uncertain *onceq.UncertainError
	if !errors.As(err, &uncertain) {
		t.Fatalf("without a replica: %v, want an uncertain answer", err)
	}
	if jobs, err := patient.Get(t.Context(), []string{uncertain.ID}); err != nil || jobs[0] == nil {
		t.Errorf("the job: %v, %v", jobs, err)
	}
}

// cutter is a proxy that can swallow answers: the request reaches the server, and the connection is cut when the answer comes.
type cutter struct {
	addr string
	cut  atomic.Int32 // so many answers to requests that contain the word
	word atomic.Value
}

func cutting(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{addr: l.Addr().String()}
	p.word.Store("evalsha")
	var open sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			conns[in], conns[out] = true, true
			mu.Unlock()
			var doomed atomic.Bool
			open.Go(func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := in.Read(buf)
					if n > 0 {
						if strings.Contains(string(buf[:n]), p.word.Load().(string)) && p.cut.Add(-1) >= 0 {
							doomed.Store(true)
						}
						_, _ = out.Write(buf[:n])
					}
					if err != nil {
						_ = out.Close()
						return
					}
				}
			})
			open.Go(func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := out.Read(buf)
					if err != nil || doomed.Load() {
						_ = in.Close()
						_ = out.Close()
						return
					}
					_, _ = in.Write(buf[:n])
				}
			})
		}
	})
	return p
}

func TestAnAnswerCutAfterTheScriptRan(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	s := open(t, "redis://"+proxy.addr, Config{})
	c := clientOf(t, s)
	ctx := t.Context()
	cut := func() { proxy.cut.Store(1) }

	// The store says that it does not know; the client finds out by itself.
	if _, err := c.Enqueue(ctx, task{0}); err != nil {
		t.Fatal(err)
	}
	row := onceq.NewRow{ID: "mine", Nonce: [16]byte{1}, Kind: "task", Queue: "default", Args: []byte("1"), Encoding: "json", MaxAttempts: 1, Retention: time.Hour}
	cut()
	if _, err := s.Enqueue(ctx, []onceq.NewRow{row}); !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("enqueue: %v, want it to be uncertain", err)
	}
	if r, err := s.Enqueue(ctx, []onceq.NewRow{row}); err != nil || r[0].Outcome != onceq.Inserted || r[0].Job.ID != "mine" {
		t.Errorf("the same again: %v, %v", r, err)
	}
	cut()
	if r, err := c.Enqueue(ctx, task{1}, onceq.Unique{}); err != nil || r.Outcome != onceq.Inserted {
		t.Errorf("client: %v, %v", r.Outcome, err)
	}
	cut()
	if r, err := c.EnqueueMany(ctx, items(500, 10)); err != nil || r[499].Outcome != onceq.Inserted {
		t.Errorf("client, a batch: %v", err)
	}
	if r := healthy(t, s); r.Jobs != 503 {
		t.Errorf("%d jobs, want 503", r.Jobs)
	}

	// A fetch asks again for what it started.
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	cut()
	f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
	if err != nil || len(f.Jobs) != 100 {
		t.Fatalf("fetched %d: %v", len(f.Jobs), err)
	}
	running, err := s.Queues(ctx)
	if err != nil || running[0].Counts[onceq.Running] != 100 {
		t.Errorf("%v run, want 100 (%v)", running, err)
	}

	// A finish is repeated, and answered as the first time.
	var ends []onceq.Finish
	for _, j := range f.Jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
	}
	cut()
	if _, err := s.Finish(ctx, ends); !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("finish: %v, want it to be uncertain", err)
	}
	results, err := s.Finish(ctx, ends)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status != onceq.FinishDone || r.State != onceq.Completed {
			t.Fatalf("finish again: %+v", r)
		}
	}
	cut()
	if _, err := s.Get(ctx, []string{"mine"}); err != nil {
		t.Errorf("reading is tried again, and got %v", err)
	}
	sound(t, s)
}

// TestAServerThatCannotBeReachedIsDefinite: nothing was sent.
func TestAServerThatCannotBeReachedIsDefinite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Patience: 50 * time.Millisecond})
	server.Kill()
	var err error
	for range 20 { // the connections that were open break first
		_, err = s.Enqueue(t.Context(), []onceq.NewRow{{ID: "a", Kind: "k", Queue: "q", MaxAttempts: 1}})
	}
	if err == nil || errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("%v, want a definite error", err)
	}
	if _, err := Open(t.Context(), server.URL(), &Config{Logger: quiet}); err == nil {
		t.Error("a server that is not there was opened")
	}
}

func TestAStoreLivesThroughARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	wake, err := s.Wake(t.Context(), []string{"default"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	enqueued := make(chan error, 1)
	go func() {
		_, err := c.Enqueue(t.Context(), task{2}, onceq.Unique{})
		enqueued <- err
	}()
	time.Sleep(100 * time.Millisecond)
	server.Restart()
	if err := <-enqueued; err != nil {
		t.Errorf("an enqueue waits for the server: %v", err)
	}
	for len(wake) > 0 {
		<-wake
	}
	other := clientOf(t, open(t, server.URL(), Config{}))
	deadline := time.After(20 * time.Second)
	for n := 10; ; n++ { // until the subscription is there again
		if err := s.wakes.await(t.Context(), []string{"default"}); err != nil { // as a fetch that finds nothing does
			t.Fatal(err)
		}
		if _, err := other.Enqueue(t.Context(), task{n}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
		case <-deadline:
			t.Fatal("nothing wakes after a restart")
		case <-time.After(50 * time.Millisecond):
			continue
		}
		break
	}
	healthy(t, s)
}

func TestAWakeOfAnotherProcessIsQuick(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	other := clientOf(t, open(t, redistest.URL(t), Config{Namespace: s.config.Namespace}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wake, err := s.Wake(ctx, []string{"default"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range 50 {
		if _, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: int64(i + 1), Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}}); err != nil {
			t.Fatal(err)
		}
		for len(wake) > 0 {
			<-wake
		}
		at := time.Now()
		if _, err := other.Enqueue(ctx, task{i}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
			took = append(took, time.Since(at))
		case <-time.After(5 * time.Second):
			t.Fatal("not woken")
		}
	}
	slices.Sort(took)
	t.Logf("half of the wakes took at most %v, the longest %v", took[len(took)/2], took[len(took)-1])
}

// TestAcknowledgementsOfReplicas: too few of them and the step is uncertain, but it has happened.
func TestAcknowledgementsOfReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(server.Addr)
	replica := redistest.Start(t, "--replicaof", host, port)
	for !strings.Contains(server.Do("info", "replication").(string), "state=online") {
		time.Sleep(10 * time.Millisecond)
	}
	s := open(t, server.URL(), Config{AckReplicas: 1, AckTimeout: 20 * time.Second, Partitions: 2})
	c := clientOf(t, s)
	hasty := open(t, server.URL(), Config{AckReplicas: 1, AckTimeout: 20 * time.Second})
	if r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil || r.Outcome != onceq.Inserted {
		t.Fatal(r.Outcome, err)
	}
	if _, err := c.EnqueueMany(t.Context(), items(500, 100)); err != nil {
		t.Fatal(err)
	}
	replica.Kill()
	hasty.config.AckTimeout = 200 * time.Millisecond
	rows := []onceq.NewRow{{ID: "mine", Kind: "k", Queue: "q", MaxAttempts: 1, Retention: time.Hour}}
	_, err := hasty.Enqueue(t.Context(), rows)
	if !errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("%v, want it to be uncertain and to say how many replicas have it", err)
	}
	if j, err := s.Get(t.Context(), []string{"mine"}); err != nil || j[0] == nil {
		t.Error("the job does not exist", err)
	}
}

func TestAURLThatIsWrongSaysWhatIsRight(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "http://localhost", "redis+sentinel://h1,h2", "redis+sentinel://h1/main/x", "redis+cluster://h1,,h2",
		"redis+cluster://h1/0", "unix+cluster://h", "redis+ring://h", "redis+sentinel://u%zz:secret@h1/main"} {
		_, err := Open(t.Context(), url, nil)
		var invalid *onceq.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "redis+cluster://") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"redis://:pw@h:1/2":                        "*redis.Client",
		"rediss://h":                               "*redis.Client",
		"unix:///tmp/redis.sock?db=1":              "*redis.Client",
		"redis+sentinel://u:p%40@h1,h2:1/main/3":   "*redis.Client",
		"rediss+cluster://u:p@h1,[::1]:7,[fe80::]": "*redis.ClusterClient",
	} {
		c, err := dial(url)
		if err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if got := fmt.Sprintf("%T", c); got != want {
			t.Errorf("%q opens a %s", url, got)
		}
		_ = c.Close()
	}
}

// TestRetentionIsCappedByNumber: more finished jobs than RetentionMax are pruned early, but for those that hold a key.
func TestRetentionIsCappedByNumber(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{RetentionMax: 50})
	c := clientOf(t, s)
	for i := range 200 {
		opts := []onceq.Option{onceq.Retention(time.Hour)}
		if i%10 == 0 {
			opts = append(opts, onceq.Unique{Until: onceq.UntilDeleted})
		}
		if _, err := c.Enqueue(t.Context(), task{i}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 200}}})
	if err != nil {
		t.Fatal(err)
	}
	var ends []onceq.Finish
	for _, j := range f.Jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
	}
	if _, err := s.Finish(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	pruned := 0
	for range 20 {
		swept, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 30})
		if err != nil || swept.Jobs > 30 {
			t.Fatal(swept.Jobs, err)
		}
		if pruned += swept.Jobs; !swept.More {
			break
		}
	}
	r := healthy(t, s)
	if pruned != 150 || r.Jobs != 50 || r.Keys != 20 {
		t.Errorf("%d pruned, %d jobs and %d keys left, want 150, 50 and 20", pruned, r.Jobs, r.Keys)
	}
	sound(t, s)
}

// TestClosedIsClosed: all that the store started has ended, and the caller's client is the caller's.
func TestClosedIsClosed(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	own := redis.NewClient(o)
	defer func() { _ = own.Close() }()
	s, err := New(own, &Config{Namespace: namespace(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	wake, err := s.Wake(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	drop(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range wake { // it ends
	}
	if _, err := s.Enqueue(t.Context(), []onceq.NewRow{{ID: "a"}}); !errors.Is(err, onceq.ErrClosed) {
		t.Error(err)
	}
	if err := own.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client was closed: %v", err)
	}
}

// TestIDsOutOfOrderAreListedInOrder: batches of several clients with clocks of their own, and IDs that go again.
func TestIDsOutOfOrderAreListedInOrder(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]bool{}
	for range 120 {
		base, n := rng.IntN(2000), 1+rng.IntN(60)
		if rng.IntN(4) == 0 {
			base = 0
		}
		var rows []onceq.NewRow
		for range n {
			id := fmt.Sprintf("01M%023d", base+rng.IntN(1+rng.IntN(300)))
			if rng.IntN(30) == 0 {
				id = fmt.Sprint("own ", rng.IntN(1000))
			}
			rows = append(rows, onceq.NewRow{ID: id, Kind: "k", Queue: "q", MaxAttempts: 1})
			want[id] = true
		}
		if _, err := s.Enqueue(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(3) == 0 {
			var ids []string
			for id := range want {
				if len(ids) < 40 {
					ids = append(ids, id)
				}
			}
			if _, err := s.Change(t.Context(), onceq.Change{Op: onceq.OpDelete, IDs: ids}); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				delete(want, id)
			}
		}
	}
	var got []string
	for after := ""; ; {
		page, err := s.List(t.Context(), onceq.ListRequest{After: after, Limit: 37})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			got = append(got, j.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("%d are listed of %d, in order: %v", len(got), len(want), slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }))
	}
	sound(t, s)
}

// acl are the rights that a store needs, for docs: its keys, its channel, and these commands.
const acl = "resetkeys ~{%[1]s:* resetchannels &%[1]s:wake -@all +eval +evalsha +hmget +hget +hset +hdel +hexists +hscan +zadd +zrem +zscore " +
	"+zlexcount +zrangebylex +zrevrangebylex +time +publish +subscribe +unsubscribe +ping +info +wait"

func TestTheRightsThatAreNeeded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rule := []any{"acl", "setuser", "jobs", "on", ">secret"}
	for _, word := range strings.Fields(fmt.Sprintf(acl, "mine")) {
		rule = append(rule, word)
	}
	server.Do(rule...)
	s := open(t, "redis://jobs:secret@"+server.Addr, Config{Namespace: "mine", Partitions: 2})
	c := clientOf(t, s)
	wake, err := s.Wake(t.Context(), []string{"default"})
	if err != nil {
		t.Fatal(err)
	}
	other := clientOf(t, open(t, "redis://jobs:secret@"+server.Addr, Config{Namespace: "mine"}))
	if _, err := other.Enqueue(t.Context(), task{0}, onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-wake:
	case <-time.After(5 * time.Second):
		t.Error("not woken")
	}
	if _, err := c.EnqueueMany(t.Context(), items(100, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enqueue(t.Context(), task{5}, onceq.Unique{}, onceq.OnConflict(onceq.Supersede)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1, Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
	if err != nil || len(f.Jobs) != 10 {
		t.Fatal(len(f.Jobs), err)
	}
	for i, j := range f.Jobs {
		end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		if i%2 == 0 {
			end.State, end.Error = onceq.Retryable, "no luck"
		}
		if _, err := s.Finish(t.Context(), []onceq.Finish{end}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 10}); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	healthy(t, s)
	sound(t, s)
}

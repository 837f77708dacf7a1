package redisstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

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
	for _, c := range []struct{ info, want string }{
		{"redis_version:6.0.16\r\nmaxmemory_policy:noeviction\r\n", "Redis 6.2"},
		{"redis_version:7.0.0\r\nmaxmemory_policy:allkeys-lru\r\n", "maxmemory-policy allkeys-lru"},
		{"redis_version:7.0.0\r\nmaxmemory_policy:volatile-ttl\r\n", "maxmemory-policy noeviction"},
		{"redis_version:7.0.0\r\nrole:slave\r\nmaster_host:elsewhere\r\nmaster_port:1\r\n", "replica"},
		{"redis_version:7.0.0\r\ncluster_enabled:1\r\n", "redis+cluster://"},
		{"redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nmaxmemory_policy:allkeys-random\r\n", "maxmemory-policy"},
		{"redis_version:5.0.14\r\nvalkey_version:\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n", "6.2"},
	} {
		s, err := Open(t.Context(), fake(t, c.info), &Config{Logger: quiet})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want it to say %q", c.info, err, c.want)
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

// TestAServerThatCannotBeReachedIsDefinite: nothing was sent.
func TestAServerThatCannotBeReachedIsDefinite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Patience: 50 * time.Millisecond})
	server.Kill()
	var err error
	for range 20 { // the connections that were open break first
		_, err = s.Enqueue(t.Context(),
			onceq.EnqueueRequest{Rows: []onceq.NewRow{{ID: "a", Kind: "k", Queue: "q", MaxAttempts: 1}}})
	}
	if err == nil || errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("%v, want a definite error", err)
	}
	if _, err := Open(t.Context(), server.URL(), &Config{Logger: quiet, Patience: time.Millisecond}); err == nil {
		t.Error("a server that is not there was opened")
	}
}

func TestAStoreLivesThroughARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	wake, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default"}})
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
		// as a fetch that finds nothing does
		if err := s.wakes.await(t.Context(), onceq.WakeRequest{Queues: []string{"default"}}); err != nil {
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

func TestAURLThatIsWrongSaysWhatIsRight(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "http://localhost", "redis+sentinel://h1,h2",
		"redis+sentinel://h1/main/x", "redis+cluster://h1,,h2",
		"redis+cluster://h1/0", "unix+cluster://h", "redis+ring://h", "redis+sentinel://u%zz:secret@h1/main"} {
		_, err := Open(t.Context(), url, nil)
		var invalid *onceq.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "redis+cluster://") ||
			strings.Contains(err.Error(), "secret") {
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

// acl are the rights that a store needs, for docs: its keys, its channel,
// and these commands.
const acl = "resetkeys ~{%[1]s:* resetchannels &%[1]s:wake -@all +eval +evalsha +hmget +hget +hset +hdel +hexists " +
	"+hincrby +hscan +hstrlen +zadd +zrem +zscore " +
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
	wake, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default"}})
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
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
	if err != nil || len(f.Jobs) != 10 {
		t.Fatal(len(f.Jobs), err)
	}
	for i, j := range f.Jobs {
		end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		if i%2 == 0 {
			end.State, end.Error = onceq.Retryable, "no luck"
		}
		if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: []onceq.Finish{end}}); err != nil {
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

// TestARightThatIsMissingIsToldByOpen and not by a step that has done a
// part of its work.
func TestARightThatIsMissingIsToldByOpen(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	before := open(t, server.URL(), Config{Namespace: "mine"})
	if _, err := clientOf(t, before).Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	w := &bare{TB: t, s: before}
	was := w.kept()
	commands := []string{"+evalsha"} // and every one that any script has
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := luaFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range regexp.MustCompile(`(?:call|pieces)\('([A-Z]+)'`).FindAllSubmatch(text, -1) {
			if right := "+" + strings.ToLower(string(c[1])); !slices.Contains(commands, right) {
				commands = append(commands, right)
			}
		}
	}
	if len(commands) < 15 {
		t.Fatalf("only %q are used", commands)
	}
	for _, missing := range commands {
		rule := []any{"acl", "setuser", "jobs", "reset", "on", ">secret"}
		for _, word := range strings.Fields(fmt.Sprintf(acl, "mine")) {
			if word != missing {
				rule = append(rule, word)
			}
		}
		server.Do(rule...)
		s, err := Open(t.Context(), "redis://jobs:secret@"+server.Addr, &Config{Namespace: "mine", Logger: quiet})
		if err == nil {
			_ = s.Close()
			t.Errorf("opened without %s", missing)
		} else if !strings.Contains(err.Error(), "the user lacks a right") {
			t.Errorf("without %s: %v, want it to say what is missing", missing, err)
		}
	}
	if is := w.kept(); !slices.Equal(is, was) {
		t.Errorf("something was written:\n%s", differ(is, was))
	}
}

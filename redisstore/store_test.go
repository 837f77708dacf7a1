package redisstore

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper(os.Args[1])
		return
	}
	if which := os.Getenv(linesEnv); which != "" {
		saySomething(os.Args[1], os.Args[2], which)
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open opens a namespace; its clock is set by setClock.
func open(t testing.TB, url string, c Config) *Store {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet
	}
	s, err := Open(context.Background(), url, &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// namespace is a name that no other test uses.
func namespace() string { return fmt.Sprintf("t%016x", rand.Uint64()) }

// setClock makes the clock of a namespace stand still; the zero time lets
// it run.
func setClock(t testing.TB, s *Store, at time.Time) {
	t.Helper()
	_, err := s.client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
		for _, part := range s.parts {
			if at.IsZero() {
				p.HDel(context.Background(), part.meta(), "clock")
			} else {
				p.HSet(context.Background(), part.meta(), "clock", at.UnixMilli())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bytesOf is everything in a namespace.
func bytesOf(t testing.TB, s *Store) (all []byte) {
	t.Helper()
	ctx := context.Background()
	for _, part := range s.parts {
		for _, key := range part.keys {
			var what []string
			var err error
			switch kind := s.client.Type(ctx, key).Val(); kind {
			case "hash":
				var pairs map[string]string
				pairs, err = s.client.HGetAll(ctx, key).Result()
				for name, value := range pairs {
					what = append(what, name, value)
				}
			case "zset":
				what, err = s.client.ZRange(ctx, key, 0, -1).Result()
			case "none":
			default:
				t.Fatalf("%s is a %s", key, kind)
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.Join(what, "\n")...)
		}
	}
	return all
}

// drop deletes a namespace.
func drop(s *Store) {
	for _, part := range s.parts {
		s.client.Unlink(context.Background(), append(part.keys[:], part.notes())...)
	}
}

// sound wants rows and indexes to go together, and counts to be what they
// count.
func sound(t testing.TB, s *Store) {
	t.Helper()
	ctx := context.Background()
	lines, err := s.Check(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, l := range lines {
		t.Error(l)
	}
	queues, err := s.Queues(ctx, onceq.QueuesRequest{})
	if err != nil {
		t.Error(err)
	}
	counted := map[string]int{}
	for after := ""; ; {
		page, err := s.List(ctx, onceq.ListRequest{Cursor: after, Limit: 1000})
		if err != nil {
			t.Error(err)
		}
		for _, j := range page.Jobs {
			counted[j.Queue+" "+string(j.State)]++
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for _, q := range queues.Queues {
		for state, n := range q.Counts {
			if at := q.Name + " " + string(state); counted[at] != n {
				t.Errorf("queue %s counts %d jobs as %s and has %d", q.Name, n, state, counted[at])
			} else {
				delete(counted, at)
			}
		}
	}
	for at, n := range counted {
		t.Errorf("%d jobs of %s are not counted", n, at)
	}
}

func harness(t *testing.T, url string, c Config) storetest.Harness {
	t.Helper()
	return harnessOf(t, url, c, namespace())
}

// harnessOf is a harness on a namespace that may be there already.
func harnessOf(t *testing.T, url string, c Config, namespace string) storetest.Harness {
	t.Helper()
	c.Namespace = namespace
	s := open(t, url, c)
	side := open(t, url, c)
	t.Cleanup(func() {
		sound(t, side)
		drop(side)
	})
	h := storetest.Harness{
		Store:    s,
		SetClock: func(at time.Time) { setClock(t, side, at) },
		Open:     func() onceq.Store { return open(t, url, c) },
		Bytes:    func() []byte { return bytesOf(t, side) },
	}
	if ids := newPlacedIDs(); len(s.parts) > 1 {
		h.Store = placing{s, ids}
		h.Open = func() onceq.Store { return placing{open(t, url, c), ids} }
	}
	return h
}

func TestStore(t *testing.T) {
	url := redistest.URL(t)
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, url, Config{}) })
}

// TestStoreInForm1: while a service is deployed, programs that know form 1
// alone share the store, and it stays in that form. In it waiting jobs stand
// elsewhere, and nothing else differs: the rules of keys are in TestModelInForm1.
func TestStoreInForm1(t *testing.T) {
	storetest.Run(t, inForm1(redistest.URL(t)),
		append([]string{"repeats", "replace", "debounce", "coalesce", "supersede", "bounds", "starting", "counts",
			"truth"}, storetest.Seam...)...)
}

func TestModelInForm1(t *testing.T) {
	t.Parallel()
	model.RunJobs(t, inForm1(redistest.URL(t)))
}

// inForm1 makes stores in form 1.
func inForm1(url string) func(*testing.T) storetest.Harness {
	return func(t *testing.T) storetest.Harness {
		if strings.HasSuffix(t.Name(), "/a_fetch_by_kind_does_not_pay_for_jobs_of_other_kinds") {
			return harness(t, url, Config{}) // in form 1 it does pay, and form 2 was made for that
		}
		space := namespace()
		beginInForm1(t, url, space)
		h := harnessOf(t, url, Config{}, space)
		side := open(t, url, Config{Namespace: space})
		t.Cleanup(func() { inForm(t, side, formOld) })
		again := h.Open
		h.Store, h.Open = besides{h.Store}, func() onceq.Store { return besides{again()} }
		return h
	}
}

// besides lists the workers besides the one of the older program, which no case
// knows of.
type besides struct{ onceq.Store }

func (s besides) Workers(ctx context.Context) ([]onceq.WorkerInfo, error) {
	all, err := s.Store.Workers(ctx)
	return slices.DeleteFunc(all, func(w onceq.WorkerInfo) bool { return w.Name == "old worker" }), err
}

// beginInForm1 makes a partition as a program that knows form 1 alone does,
// with a worker of that program.
func beginInForm1(t *testing.T, url, namespace string) {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	k := partitions(namespace, 1)[0].keys
	lease := put48(nil, 1<<47)
	worker := append(append(append([]byte{}, lease...), make([]byte, 20)...), put48(nil, 60_000)...)
	_, err = c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.HSet(t.Context(), k[3], "v", "1", "p", "0/1", "kold worker", worker)
		p.HSet(t.Context(), k[0], "\x00", "onceq")
		p.HSet(t.Context(), k[1], "\x00", "onceq")
		p.ZAdd(t.Context(), k[2], redis.Z{Member: "\x00"}, redis.Z{Member: "l" + string(lease) + "old worker"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inForm wants the partitions of a store to be in a form.
func inForm(t *testing.T, s *Store, form string) {
	t.Helper()
	for _, p := range s.parts {
		if v, err := s.client.HGet(context.Background(), p.meta(), "v").Result(); formOf(v) != form {
			t.Errorf("the data is in form %q (%v), want %s", v, err, form)
		}
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	model.Run(t, func(t *testing.T) storetest.Harness { return harness(t, url, Config{}) })
}

// Behind a decorator besides, for partitions are where a store has most to
// say beyond its methods. Partitions matter where calls have many rows or ask
// all of them; the life of a key is in one, and TestModelInEightPartitions
// plays it.
func TestStoreInEightPartitionsBehindADecorator(t *testing.T) {
	url := redistest.URL(t)
	storetest.Run(t, storetest.Decorated(func(t *testing.T) storetest.Harness {
		return harness(t, url, Config{Partitions: 8})
	}), append([]string{"identity", "policies", "replace", "debounce", "coalesce", "supersede", "bounds", "starting",
		"results", "waiting", "counts", "notes", "doubt", "repeats", "races", "guarding", "guard_calls", "periodic",
		"limited", "limiting", "recipes", "parity_taskiq_guard"}, storetest.Seam...)...)
}

func TestModelInEightPartitions(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	model.RunJobs(t, func(t *testing.T) storetest.Harness { return harness(t, url, Config{Partitions: 8}) })
}

// A cluster has no rule of its own: with six partitions every script and every
// way of a call over several nodes is here. The rules of keys are in the other
// configurations and in TestModelOnACluster.
func TestStoreOnACluster(t *testing.T) {
	url := redistest.ClusterURL(t)
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, url, Config{Partitions: 6}) },
		append([]string{"identity", "repeats", "supersede", "results", "waiting", "counts", "starting", "guarding",
			"guard_calls", "periodic", "limited", "limiting", "recipes", "parity_taskiq_guard"}, storetest.Seam...)...)
}

func TestModelOnACluster(t *testing.T) {
	t.Parallel()
	url := redistest.ClusterURL(t)
	model.Run(t, func(t *testing.T) storetest.Harness { return harness(t, url, Config{Partitions: 6}) })
}

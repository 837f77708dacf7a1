package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is a Redis cluster for tests.
type Cluster struct {
	Masters  []*Server // the slots lie evenly among them
	Replicas []*Server // number i belongs to master i modulo the number of masters
}

// slots is how many slots a cluster has.
const slots = 16384

// StartCluster starts a cluster with so many masters, which share the slots
// evenly, and so many replicas for each.
func StartCluster(t testing.TB, masters, replicas int, options ...string) *Cluster {
	t.Helper()
	c := newCluster(t, t.TempDir(), masters, replicas, options...)
	t.Cleanup(c.end)
	return c
}

// ClusterURL names a cluster of three masters that many tests share. Each test
// uses a namespace of its own.
func ClusterURL(t testing.TB) string {
	t.Helper()
	Binary(t)
	return cluster.use(t, func(dir string) (string, func()) {
		c := newCluster(t, dir, 3, 0)
		return c.URL(), c.end
	})
}

func newCluster(t testing.TB, dir string, masters, replicas int, options ...string) *Cluster {
	t.Helper()
	c := &Cluster{}
	var starting sync.WaitGroup
	for i := range masters * (1 + replicas) {
		s := AddNode(t, filepath.Join(dir, fmt.Sprint(i)), options...)
		if i < masters {
			c.Masters = append(c.Masters, s)
		} else {
			c.Replicas = append(c.Replicas, s)
		}
		starting.Go(s.Restart)
	}
	starting.Wait()
	for i, s := range c.Masters {
		s.Do("cluster", "set-config-epoch", i+1)
		args := []any{"cluster", "addslots"}
		for slot := i * slots / masters; slot < (i+1)*slots/masters; slot++ {
			args = append(args, slot)
		}
		s.Do(args...)
	}
	first := c.Masters[0]
	for _, s := range c.nodes()[1:] {
		s.Meet(first)
	}
	c.Wait()
	for i, s := range c.Replicas {
		s.Do("cluster", "replicate", c.Masters[i%masters].NodeID())
	}
	for _, s := range c.Replicas {
		until(t, "a replica to follow its master", func() bool {
			return strings.Contains(s.Do("info", "replication").(string), "master_link_status:up")
		})
	}
	return c
}

// AddNode prepares a node of a cluster. Restart starts it and Meet introduces
// it to the other nodes.
func AddNode(t testing.TB, dir string, options ...string) *Server {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return prepare(t, dir, append(
		[]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-config-file", "nodes.conf",
			"--cluster-require-full-coverage", "no", "--repl-ping-replica-period", "1", "--repl-diskless-sync-delay",
			"0"}, options...)...)
}

// Meet introduces two nodes to each other.
func (s *Server) Meet(other *Server) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(other.Addr)
	s.Do("cluster", "meet", host, port)
}

// NodeID is the node's name in the cluster.
func (s *Server) NodeID() string {
	s.t.Helper()
	return s.Do("cluster", "myid").(string)
}

// End ends the process for good.
func (s *Server) End() { s.end() }

func (c *Cluster) nodes() []*Server {
	return append(append([]*Server(nil), c.Masters...), c.Replicas...)
}

func (c *Cluster) end() {
	var ending sync.WaitGroup
	for _, s := range c.nodes() {
		ending.Go(s.end)
	}
	ending.Wait()
}

// URL names the cluster's masters.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Masters {
		addrs = append(addrs, s.Addr)
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// Wait waits until every node knows all others and all slots are served.
func (c *Cluster) Wait() {
	t := c.Masters[0].t
	t.Helper()
	for _, s := range c.nodes() {
		until(t, "the cluster to come up", func() bool {
			info := s.Do("cluster", "info").(string)
			return strings.Contains(info, "cluster_state:ok") &&
				strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.nodes()))) &&
				strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d\r", slots))
		})
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("redistest: waited too long for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Sentinels is a master with a replica, watched by three Sentinels.
type Sentinels struct {
	Master, Replica *Server   // as they began; a failover swaps their roles
	Watchers        []*Server // the Sentinels
}

// StartSentinels starts a master, called "main", its replica and three
// Sentinels.
func StartSentinels(t testing.TB, options ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{Master: Start(t, append([]string{"--repl-diskless-sync-delay", "0"}, options...)...)}
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	s.Replica = Start(t, append([]string{"--replicaof", host, port, "--repl-diskless-sync-delay", "0"}, options...)...)
	for range 3 {
		dir := t.TempDir()
		w := &Server{t: t, Dir: dir, Addr: FreeAddr(t)}
		_, own, _ := net.SplitHostPort(w.Addr)
		config := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor main %s %s 2\nsentinel "+
			"down-after-milliseconds main 500\n"+
			"sentinel failover-timeout main 3000\nsentinel parallel-syncs main 1\n", own, dir, host, port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.args = []string{config, "--sentinel"}
		t.Cleanup(w.end)
		w.Restart()
		s.Watchers = append(s.Watchers, w)
	}
	until(t, "the replica to follow", func() bool {
		return strings.Contains(s.Replica.Do("info", "replication").(string), "master_link_status:up")
	})
	for _, w := range s.Watchers {
		until(t, "the Sentinels to know each other", func() bool {
			c := redis.NewClient(&redis.Options{Addr: w.Addr})
			defer func() { _ = c.Close() }()
			m, err := c.Do(context.Background(), "sentinel", "master", "main").Result()
			return err == nil && field(m, "num-other-sentinels") == "2" && field(m, "num-slaves") == "1"
		})
	}
	return s
}

// field reads one value of an answer that is a map, or a list of names and
// values.
func field(v any, name string) string {
	switch v := v.(type) {
	case map[any]any:
		return fmt.Sprint(v[name])
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			if v[i] == any(name) {
				return fmt.Sprint(v[i+1])
			}
		}
	}
	return ""
}

// URL names the Sentinels.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, w := range s.Watchers {
		addrs = append(addrs, w.Addr)
	}
	return "redis+sentinel://" + strings.Join(addrs, ",") + "/main"
}

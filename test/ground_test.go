package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// ground is what a store stands on, and what can go wrong with it.
type ground struct {
	url    string            // the store
	lossy  string            // the store through a proxy that loses requests and answers; "" = there is no network
	faults map[string]func() // each happens and passes
}

// grounds makes the ground of each store, with durability that a crash does
// not shake.
var grounds = map[string]func(t *testing.T) ground{
	"sqlite": func(t *testing.T) ground {
		g := ground{faults: map[string]func(){}}
		dir := smallDisk(t, 512)
		if dir == "" {
			t.Log("no disk of its own can be mounted here: it is not filled")
			dir = t.TempDir()
		} else {
			g.faults["the disk is full"] = func() { fullFor(fill(t, dir)) }
		}
		g.url = "sqlite:" + filepath.Join(dir, "jobs.db")
		return g
	},
	"postgres": func(t *testing.T) ground {
		var g ground
		dir := smallDisk(t, 1024)
		if dir == "" {
			t.Log("no disk of its own can be mounted here: it is not filled")
		} else {
			was := os.Getenv("TMPDIR")
			os.Setenv("TMPDIR", dir) // where its files go, and no others
			defer os.Setenv("TMPDIR", was)
		}
		s := pgtest.Start(t)
		again := func() {
			if err := s.Start(); err != nil {
				t.Fatalf("postgres does not start again: %v", err)
			}
		}
		g = network(t, s.URL())
		g.faults["the server crashes"] = func() { s.Signal(syscall.SIGQUIT); again() }
		g.faults["the server is killed"] = func() { s.Signal(syscall.SIGKILL); again() }
		if dir != "" {
			g.faults["the disk is full"] = func() {
				fullFor(fill(t, dir))
				s.Signal(syscall.SIGQUIT) // it may have panicked and given up
				again()
			}
		}
		return g
	},
	"redis": func(t *testing.T) ground {
		s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		g := network(t, s.URL())
		g.faults["the server is killed"] = func() { s.Kill(); s.Restart() }
		g.faults["the memory is full"] = func() {
			used := int64(0)
			_, text, _ := strings.Cut(fmt.Sprint(s.Do("info", "memory")), "used_memory:")
			text, _, _ = strings.Cut(text, "\r")
			used, _ = strconv.ParseInt(text, 10, 64)
			fullFor(func() { s.Do("config", "set", "maxmemory", "0") }, func() {
				s.Do("config", "set", "maxmemory", used*9/10)
			})
		}
		return g
	},
}

// network is a store with a proxy before it.
func network(t *testing.T, url string) ground {
	t.Helper()
	p, through := newProxy(t, url)
	p.lose(400)
	return ground{url: url, lossy: through, faults: map[string]func(){
		"connections are refused": func() { p.down(); time.Sleep(rand.N(time.Second)); p.up() },
		"answers are lost":        func() { p.lose(10); time.Sleep(rand.N(time.Second)); p.lose(400) },
	}}
}

// fullFor leaves something full for a while.
func fullFor(free func(), fill ...func()) {
	for _, f := range fill {
		f()
	}
	time.Sleep(200*time.Millisecond + rand.N(time.Second))
	free()
}

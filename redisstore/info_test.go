package redisstore

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq/internal/redistest"
)

func TestAStoreSaysWhatPutsItsPromisesAtRisk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	s := open(t, server.URL(), Config{AllowEviction: true})
	says := func(want ...string) {
		t.Helper()
		info, err := s.Traits().Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(info.Server, "Redis ") && !strings.HasPrefix(info.Server, "Valkey ") ||
			info.Schema != "form 2" {
			t.Errorf("%+v", info)
		}
		if len(info.Warnings) != len(want) {
			t.Fatalf("%q, want %q", info.Warnings, want)
		}
		for i, text := range want {
			if !strings.Contains(info.Warnings[i], text) {
				t.Errorf("%q, want %q", info.Warnings[i], text)
			}
		}
	}
	says()
	set := func(name, value string) {
		t.Helper()
		if err := s.client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("appendonly", "no")
	says("persistence of the server is off")
	set("save", "60 1")
	says("append-only file of the server is off")
	set("appendonly", "yes")
	set("maxmemory-policy", "allkeys-lru")
	says("allkeys-lru")
}

func TestAConnectionThatLeavesTheHostUnencryptedIsNamed(t *testing.T) {
	for _, c := range []struct {
		o    redis.Options
		open bool
	}{
		{redis.Options{Addr: "127.0.0.1:6379"}, false},
		{redis.Options{Addr: "[::1]:6379"}, false},
		{redis.Options{Addr: "localhost:6379"}, false},
		{redis.Options{Addr: "/run/redis.sock", Network: "unix"}, false},
		{redis.Options{Addr: "10.0.0.1:6379"}, true},
		{redis.Options{Addr: "redis:6379"}, true},
		{redis.Options{Addr: "redis:6379", TLSConfig: &tls.Config{}}, false},
	} {
		client := redis.NewClient(&c.o)
		if got := isOpen(client); got != c.open {
			t.Errorf("%s: %v", c.o.Addr, got)
		}
		_ = client.Close()
	}
	if got := risks("the server", nil, true, true); len(got) != 1 || !strings.Contains(got[0], "rediss://") {
		t.Errorf("%q", got)
	}
}

func TestAStoreSaysWhichOfItsPartitionsAreInAnOlderForm(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	old, fresh := namespace(), namespace()
	beginInForm1(t, url, old)
	for space, want := range map[string]string{old: "form 2, and 1 of 1 partitions in an older one",
		fresh: "form 2, 8 partitions"} {
		c := Config{Namespace: space}
		if space == fresh {
			c.Partitions = 8
		}
		info, err := open(t, url, c).Traits().Info(t.Context())
		if err != nil || info.Schema != want {
			t.Errorf("%+v %v, want %q", info, err, want)
		}
	}
}

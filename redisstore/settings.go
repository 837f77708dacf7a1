package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// examine asks the server, or each master of a cluster, for its settings,
// and refuses those that would break a promise.
func (s *Store) examine(ctx context.Context) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		server, err := s.examineNode(ctx, s.conns.usual, "the server")
		s.server = server
		return err
	}
	var mu sync.Mutex
	var errs []error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		server, err := s.examineNode(ctx, node, "node "+node.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		s.server = server + " (cluster)"
		if err != nil {
			errs = append(errs, err)
		}
		return nil
	})
	if len(errs) > 0 {
		return errs[0]
	}
	if err != nil {
		return fmt.Errorf("redisstore: look at the cluster: %w", s.advise(err))
	}
	return nil
}

func (s *Store) examineNode(ctx context.Context, node redis.Cmdable, which string) (server string, err error) {
	info, err := s.info(ctx, node)
	if err != nil {
		return "", fmt.Errorf("redisstore: look at %s: %w", which, s.advise(err))
	}
	about := readInfo(info)
	version := about["redis_version"]
	server = "Redis " + version
	if v := about["valkey_version"]; v != "" {
		server = "Valkey " + v
	}
	if !atLeast(version, 6, 2) {
		return server, fmt.Errorf("redisstore: %s is %s: Redis 6.2 (or any Valkey) is the oldest that will "+
			"do", which, server)
	}
	if s.config.AckAOF && !atLeast(version, 7, 2) {
		return server, fmt.Errorf("redisstore: %s is %s: Config.AckAOF needs WAITAOF, which came with Redis "+
			"7.2", which, server)
	}
	if about["role"] == "slave" {
		return server, fmt.Errorf("redisstore: %s is a replica (of %s:%s): name the master, or its Sentinels", which,
			about["master_host"], about["master_port"])
	}
	if _, single := s.client.(*redis.Client); single && about["cluster_enabled"] == "1" {
		return server, fmt.Errorf("redisstore: %s is a node of a cluster: open it as redis+cluster://, or with a "+
			"*redis.ClusterClient", which)
	}
	if policy := about["maxmemory_policy"]; policy != "" && policy != "noeviction" && !s.config.AllowEviction {
		return server, fmt.Errorf("redisstore: %s has maxmemory-policy %s and would throw away jobs and keys when "+
			"its memory is full: "+
			"set `maxmemory-policy noeviction` there (or accept the loss with Config.AllowEviction)", which, policy)
	}
	if about["aof_enabled"] == "0" {
		save, err := node.ConfigGet(ctx, "save").Result()
		switch {
		case err == nil && save["save"] == "":
			s.log(slog.LevelWarn, "onceq: Redis persistence is off", "server", which,
				"hint", "all jobs and keys are gone when the server stops: set `appendonly yes`")
		case err == nil:
			s.log(slog.LevelInfo, "onceq: Redis append-only file is off", "server", which,
				"hint", "what came after the last snapshot is gone when the server is killed")
		}
	}
	if s.config.AckAOF && about["aof_enabled"] == "0" {
		return server, errors.New("redisstore: Config.AckAOF needs `appendonly yes` on " + which)
	}
	return server, nil
}

// info asks a server about itself. It waits for a server that is absent or
// starting.
func (s *Store) info(ctx context.Context, node redis.Cmdable) (string, error) {
	deadline := time.Now().Add(s.config.Patience)
	var why error
	for {
		info, err := node.Info(ctx).Result()
		if err == nil {
			return info, nil
		}
		why = better(why, err)
		if !passes(err) || time.Now().After(deadline) || !s.pause(ctx, 50*time.Millisecond) {
			return "", afterEnd(ctx, why)
		}
	}
}

// readInfo reads the answer of INFO.
func readInfo(info string) map[string]string {
	about := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			about[name] = value
		}
	}
	return about
}

// atLeast compares a version. What does not read as a version passes.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA != nil || errB != nil || a > major || a == major && b >= minor
}

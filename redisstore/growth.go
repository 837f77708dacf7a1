package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
)

// growth says how full the memory of each server is, once that is worth a word.
func (s *Store) growth(ctx context.Context) (lines []string, err error) {
	look := func(ctx context.Context, node redis.Cmdable, which string) (string, error) {
		info, err := s.info(ctx, node)
		if err != nil {
			return "", fmt.Errorf("redisstore: look at %s: %w", which, s.advise(err))
		}
		about := readInfo(info)
		return grown(which, number64(about["used_memory"]), number64(about["maxmemory"])), nil
	}
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		line, err := look(ctx, s.conns.usual, "the server")
		if line != "" {
			lines = append(lines, line)
		}
		return lines, err
	}
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		line, err := look(ctx, node, "node "+node.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		if line != "" {
			lines = append(lines, line)
		}
		return err
	})
	return lines, err
}

// grown says that a memory is nearly full; "" while it is not, or has no
// bound. It is pure.
func grown(which string, used, most int64) string {
	if most == 0 || used < most/5*4 {
		return ""
	}
	return fmt.Sprintf("%s uses %d of %d MiB (maxmemory): a full one refuses what is new; shorten Retention, delete "+
		"finished jobs, or raise maxmemory",
		which, used>>20, most>>20)
}

func number64(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

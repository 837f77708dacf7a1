package redisstore

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// about is Traits.Info.
func (s *Store) about(ctx context.Context) (onceq.StoreInfo, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.StoreInfo{}, err
	}
	defer leave()
	info := onceq.StoreInfo{Server: s.server}
	if info.Schema, err = s.forms(ctx); err != nil {
		return onceq.StoreInfo{}, fmt.Errorf("redisstore: look at the form: %w", s.advise(err))
	}
	var mu sync.Mutex
	look := func(ctx context.Context, node redis.Cmdable, which string) error {
		text, err := s.info(ctx, node)
		if err != nil {
			return fmt.Errorf("redisstore: look at %s: %w", which, s.advise(err))
		}
		saves := true // unless the server says otherwise; it may not let us ask
		if save, err := node.ConfigGet(ctx, "save").Result(); err == nil {
			saves = save["save"] != ""
		}
		mu.Lock()
		defer mu.Unlock()
		info.Warnings = append(info.Warnings, risks(which, readInfo(text), saves, isOpen(node))...)
		return nil
	}
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return look(ctx, node, "node "+node.Options().Addr)
		})
	} else {
		err = look(ctx, s.conns.usual, "the server")
	}
	if err != nil {
		return onceq.StoreInfo{}, err
	}
	return info, nil
}

// forms says in which form the partitions are. While a store is brought to the
// new form, some of them still have the old one.
func (s *Store) forms(ctx context.Context) (string, error) {
	of, err := s.conns.usual.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range s.parts {
			p.HGet(ctx, s.parts[i].meta(), "v")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	count := map[string]int{}
	for _, c := range of {
		count[formOf(c.(*redis.StringCmd).Val())]++
	}
	text := "form " + formNew
	if n := len(s.parts) - count[formNew]; n > 0 {
		text = fmt.Sprintf("form %s, and %d of %d partitions in an older one", formNew, n, len(s.parts))
	} else if len(s.parts) > 1 {
		text = fmt.Sprintf("form %s, %d partitions", formNew, len(s.parts))
	}
	return text, nil
}

// risks are the warnings for a server, of what it says of itself. It is pure.
func risks(which string, about map[string]string, saves, open bool) (lines []string) {
	switch {
	case about["aof_enabled"] != "0":
	case saves:
		lines = append(lines, "The append-only file of "+which+" is off: what came after the last snapshot is lost "+
			"when it is killed. Set `appendonly yes`.")
	default:
		lines = append(lines, "The persistence of "+which+" is off: all jobs and keys are lost when it stops. "+
			"Set `appendonly yes`.")
	}
	if policy := about["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		lines = append(lines, "maxmemory-policy of "+which+" is "+policy+": it throws away jobs and keys when its "+
			"memory is full. Set `maxmemory-policy noeviction`.")
	}
	if open {
		lines = append(lines, "The connection to "+which+" is not encrypted: whoever is on the way can read the args "+
			"of jobs. Name it as rediss://.")
	}
	return lines
}

// isOpen reports whether a connection leaves the host and is not encrypted.
func isOpen(node redis.Cmdable) bool {
	client, ok := node.(*redis.Client)
	if !ok || client.Options().TLSConfig != nil || client.Options().Network == "unix" {
		return false
	}
	host, _, err := net.SplitHostPort(client.Options().Addr)
	if err != nil || strings.EqualFold(host, "localhost") {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsLoopback()
}

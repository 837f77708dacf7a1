package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// errUnacknowledged says that what was done may be lost with the server
// that did it.
var errUnacknowledged = errors.New("not acknowledged as asked")

func (s *Store) acks() bool { return s.config.AckReplicas > 0 || s.config.AckAOF }

// acked sends calls that write, and asks on the same connection how many
// replicas (or files) have the write. If too few do, the call has happened,
// but may not last: it is uncertain.
func (s *Store) acked(ctx context.Context, trips []*trip, calls []call) {
	groups := map[redis.Cmdable][]int{}
	cluster, _ := s.client.(*redis.ClusterClient)
	for i, t := range trips {
		var node redis.Cmdable = s.conns.bulk
		if cluster != nil {
			master, err := cluster.MasterForKey(ctx, s.parts[t.part].meta())
			if err != nil {
				calls[i].SetErr(definite("look for the master of a slot: " + err.Error()))
				continue
			}
			node = master
		}
		groups[node] = append(groups[node], i)
	}
	timeout := s.config.AckTimeout.Milliseconds()
	for node, group := range groups {
		pipe := node.Pipeline()
		for _, i := range group {
			_ = pipe.Process(ctx, calls[i])
		}
		ack := redis.NewCmd(ctx, "wait", s.config.AckReplicas, timeout)
		if s.config.AckAOF {
			ack = redis.NewCmd(ctx, "waitaof", 1, s.config.AckReplicas, timeout)
		}
		_ = pipe.Process(ctx, call{ack})
		started := time.Now()
		_, _ = pipe.Exec(ctx)
		err := s.enough(ack)
		moved := false
		for _, i := range group {
			switch {
			case calls[i].Err() == nil && err != nil:
				trips[i].err = fmt.Errorf("%w within %s: %w", errUnacknowledged,
					time.Since(started).Round(time.Millisecond), err)
			case redis.HasErrorPrefix(calls[i].Err(), "MOVED"), redis.HasErrorPrefix(calls[i].Err(), "ASK"):
				moved = true
			}
		}
		if moved && cluster != nil {
			cluster.ReloadState(ctx)
		}
	}
}

// enough reads the answer of WAIT (the number of replicas) or WAITAOF (its
// own file, and the files of replicas).
func (s *Store) enough(ack *redis.Cmd) error {
	v, err := ack.Result()
	if err != nil {
		return err
	}
	files, replicas := int64(1), number(v)
	if s.config.AckAOF {
		both := list(v)
		if len(both) != 2 {
			return fmt.Errorf("WAITAOF answered %v", v)
		}
		files, replicas = number(both[0]), number(both[1])
	}
	if files < 1 {
		return errors.New("the server has not written it to its file")
	}
	if replicas < int64(s.config.AckReplicas) {
		return fmt.Errorf("%d of %d replicas have it", replicas, s.config.AckReplicas)
	}
	return nil
}

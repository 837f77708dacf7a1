package redisstore

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

var ops = map[onceq.Op]string{
	onceq.OpCancel: "cancel", onceq.OpRetry: "retry", onceq.OpRunNow: "run", onceq.OpDelete: "delete",
	onceq.OpPause: "pause", onceq.OpResume: "resume", onceq.OpRelease: "release",
	onceq.OpStart: "start", onceq.OpMove: "move",
}

// The codes of change.lua.
const (
	changed = iota
	missing
	refused
	behind
	held
	unknown
	paused
)

// Change is an operator's step. The change of each job is atomic. A pause
// is in force on all partitions when Change returns without an error, and
// may be repeated.
func (s *Store) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	head := changeArgs(&c)
	switch c.Op {
	case onceq.OpPause, onceq.OpResume:
		return s.changeQueue(ctx, head)
	case onceq.OpRelease:
		return s.releaseKey(ctx, &c, head)
	}
	return s.changeJobs(ctx, &c, head)
}

// changeArgs are the arguments of change.lua, up to the number of IDs.
func changeArgs(c *onceq.Change) []any {
	filter := ""
	for _, state := range c.States {
		if code, ok := stateCode(state); ok {
			filter += string([]byte{code})
		}
	}
	if c.States != nil && filter == "" {
		filter = "\xff" // none
	}
	key, who, no, at := "", "", c.No, ""
	switch c.Op {
	case onceq.OpRelease:
		if key = string(c.Key[:]); c.Holder != "" {
			who = packID(c.Holder)
		}
	case onceq.OpStart:
		who = c.Worker
	case onceq.OpPause:
		no = c.Delay.Milliseconds()
	case onceq.OpMove:
		if no = c.Delay.Milliseconds(); !c.RunAt.IsZero() {
			at = strconv.FormatInt(c.RunAt.UnixMilli(), 10)
		}
	}
	return slices.Clip([]any{ops[c.Op], flag(c.WithoutKey), c.Queue, key, filter, who, no, at, flag(len(c.IDs) == 1)})
}

// changeQueue pauses or resumes a queue on all partitions.
func (s *Store) changeQueue(ctx context.Context, head []any) ([]onceq.ChangeResult, error) {
	var trips []*trip
	for p := range s.parts {
		trips = append(trips, &trip{script: luaChange, part: p, args: append(head, 0)})
	}
	if err := s.do(ctx, trips...); err != nil {
		if slices.ContainsFunc(trips, func(t *trip) bool { return t.err == nil }) {
			err = uncertain(err)
		}
		return nil, err
	}
	return make([]onceq.ChangeResult, 1), nil
}

// releaseKey takes a key from its holder.
func (s *Store) releaseKey(ctx context.Context, c *onceq.Change, head []any) ([]onceq.ChangeResult, error) {
	t := &trip{script: luaChange, part: s.ofKey(&c.Key), args: append(head, 0)}
	if err := s.do(ctx, t); err != nil {
		return nil, err
	}
	v := list(t.reply[0])
	switch number(v[0]) {
	case missing:
		return []onceq.ChangeResult{{Err: onceq.ErrNotFound}}, nil
	case behind:
		j, err := s.readTriple(ctx, t, "", v[1])
		if err != nil {
			return nil, err
		}
		return []onceq.ChangeResult{{Err: rules.RefusedRelease(j.ID, j.Behind)}}, nil
	}
	return make([]onceq.ChangeResult, 1), nil
}

// changeJobs changes jobs by ID, in shares.
func (s *Store) changeJobs(ctx context.Context, c *onceq.Change, head []any) ([]onceq.ChangeResult, error) {
	shares := s.byID(luaChange, len(c.IDs), func(i int) string { return c.IDs[i] })
	for _, sh := range shares {
		sh.args = append(head, len(sh.rows))
		for _, i := range sh.rows {
			sh.args = append(sh.args, packID(c.IDs[i]))
		}
	}
	results := make([]onceq.ChangeResult, len(c.IDs))
	err := s.doShares(ctx, shares, func(sh *share, k, i int) error {
		v := list(sh.reply[k])
		if len(v) != 4 {
			return errors.New("redisstore: change: the answer is too short")
		}
		code := number(v[0])
		if code == missing {
			results[i].Err = onceq.ErrNotFound
			return nil
		}
		j, err := s.readTriple(ctx, &sh.trip, packID(c.IDs[i]), v[1])
		if err != nil {
			return err
		}
		if results[i].Job = &j.JobRow; len(c.IDs) > 1 {
			j.Args = nil
		}
		switch code {
		case refused:
			results[i].Err = rules.Refusal(j.State, rules.Why[c.Op])
		case behind:
			results[i].Err = rules.Refusal(j.State, rules.CannotBehind(c.Op, j.Behind))
		case unknown:
			results[i].Err = rules.UnknownWorker(c.Worker)
		case paused:
			results[i].Err = rules.RefusedPaused(j.Queue)
		case held:
			id, _ := holds(text(v[2]))
			holder, err := s.readTriple(ctx, &sh.trip, id, v[3])
			if err != nil {
				return err
			}
			h, err := heldKey(*j.Key, text(v[2]), holder)
			if err != nil {
				return err
			}
			results[i].Err = &onceq.DuplicateError{Kind: j.Kind, Queue: j.Queue, Conflict: *h.Conflict(j.Digest)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

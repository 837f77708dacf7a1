package redisstore

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
)

// Finish ends runs, in shares of at most 200 of one partition. Where some were done and some were not, the error is uncertain and all may be sent
// again: what took effect is answered as the first time.
func (s *Store) Finish(ctx context.Context, fs []onceq.Finish) ([]onceq.FinishResult, error) {
	if s.closed.Load() {
		return nil, onceq.ErrClosed
	}
	if len(fs) == 0 {
		return nil, ctx.Err()
	}
	shares := s.byID(luaFinish, len(fs), func(i int) string { return fs[i].ID })
	for _, sh := range shares {
		sh.args = make([]any, 1, 1+4*len(sh.rows))
		sh.args[0] = len(sh.rows)
		for _, i := range sh.rows {
			f := &fs[i]
			state, ok := stateCode(f.State)
			if !ok || state == stRunning || state == stAvailable {
				return nil, &onceq.InvalidError{Field: "state", Value: string(f.State), Rule: "cannot be what a run ends with"}
			}
			flags := byte(0)
			if f.Rescue {
				flags |= 1
			}
			if f.GiveBack {
				flags |= 2
			}
			run := put48(nil, min(max(f.Run, 0), 1<<40-1))[1:]
			sh.args = append(sh.args, packID(f.ID), f.Worker, putMilli(append(run, state, flags), f.Delay), packError(f))
		}
	}
	results := make([]onceq.FinishResult, len(fs))
	err := s.doShares(ctx, shares, func(sh *share, k, i int) error {
		v := text(sh.reply[k])
		if len(v) < 2 || v[0] > 2 || int(v[1]) >= len(states) {
			return errors.New("redisstore: finish: the answer cannot be read")
		}
		results[i] = onceq.FinishResult{Status: onceq.FinishStatus(v[0]), Wake: v[2:]}
		if results[i].Status == onceq.FinishDone {
			results[i].State = states[v[1]]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// byID splits what concerns jobs into shares of one partition.
func (s *Store) byID(script *script, n int, id func(i int) string) []*share {
	byPart := make([][]int, len(s.parts))
	for i := range n {
		p := s.ofID(id(i))
		byPart[p] = append(byPart[p], i)
	}
	var shares []*share
	for p, places := range byPart {
		for len(places) > 0 {
			n, seen := 0, make(map[string]bool, len(places))
			for n < min(len(places), perScript) && !seen[id(places[n])] { // an ID that comes again is for the next call
				seen[id(places[n])] = true
				n++
			}
			shares = append(shares, &share{trip: trip{script: script, part: p}, rows: places[:n]})
			places = places[n:]
		}
	}
	return shares
}

// doShares sends shares and reads an answer for each of their rows. An error of a writing step that was done in part is uncertain.
func (s *Store) doShares(ctx context.Context, shares []*share, read func(sh *share, k, i int) error) error {
	trips := make([]*trip, len(shares))
	for i := range shares {
		trips[i] = &shares[i].trip
	}
	err := s.do(ctx, trips...)
	done := 0
	for _, sh := range shares {
		if sh.err != nil {
			continue
		}
		done++
		for k, i := range sh.rows {
			if k >= len(sh.reply) {
				return uncertain(errors.New("redisstore: the answer is too short"))
			}
			if e := read(sh, k, i); e != nil {
				return uncertain(e)
			}
		}
	}
	if err != nil && done > 0 && len(shares) > 0 && shares[0].script.writes {
		return uncertain(err)
	}
	return err
}

package redisstore

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
)

// The flags of a run that ends.
const (
	finishRescue   = 1
	finishGiveBack = 2 // the attempt is not spent
	finishResult   = 4 // a result follows
)

// Finish ends runs, in shares of at most 200 of one partition. If some
// shares were applied and some not, the error is uncertain. All may then be
// sent again: what took effect is answered as the first time.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	fs := r.Runs
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(fs) == 0 {
		return nil, ctx.Err()
	}
	shares := s.byID(luaFinish, len(fs), func(i int) string { return fs[i].ID })
	for _, sh := range shares {
		var outcomes []any
		sh.args = make([]any, 1, 1+2*len(sh.rows))
		sh.args[0] = len(sh.rows)
		var room [128]byte
		before := any("") // most runs have the same
		for _, i := range sh.rows {
			f := &fs[i]
			state, ok := stateCode(f.State)
			if !ok || state == stRunning || state == stAvailable {
				return nil, &onceq.InvalidError{Field: "state", Value: string(f.State),
					Rule: "cannot be what a run ends with"}
			}
			flags := byte(0)
			if f.Rescue {
				flags |= finishRescue
			}
			if f.GiveBack {
				flags |= finishGiveBack
			}
			if len(f.Result) > 0 {
				flags |= finishResult
				outcomes = append(outcomes, f.Result)
			}
			spec := append(put48(room[:0], min(max(f.Run, 0), 1<<40-1))[1:], state, flags)
			spec = appendError(putName(putMilli(spec, f.Delay), f.Worker), f)
			if string(spec) != before.(string) {
				before = string(spec)
			}
			sh.args = append(sh.args, packID(f.ID), before)
		}
		sh.args = append(sh.args, outcomes...)
	}
	results := make([]onceq.FinishResult, len(fs))
	err = s.doTrips(ctx, shares, func(sh *share) error {
		answers, woke := text(sh.reply[0]), sh.reply[1:]
		if len(answers) != 2*len(sh.rows) {
			return errors.New("redisstore: the answer is too short")
		}
		for k, i := range sh.rows {
			status, state := answers[2*k], answers[2*k+1]
			if status > 3 || int(state) >= len(states) || status == 3 && len(woke) == 0 {
				return errors.New("redisstore: finish: the answer cannot be read")
			}
			if status == 3 {
				results[i].Wake, woke = text(woke[0]), woke[1:]
				status = 0
			}
			if results[i].Status = onceq.FinishStatus(status); results[i].Status == onceq.FinishDone {
				results[i].State = states[state]
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// byID splits requests about jobs into shares of one partition.
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
			// an ID that occurs twice waits for the next call
			for n < min(len(places), perScript) && !seen[id(places[n])] {
				seen[id(places[n])] = true
				n++
			}
			shares = append(shares, &share{trip: trip{script: script, part: p}, rows: places[:n]})
			places = places[n:]
		}
	}
	return shares
}

// doShares is doTrips for replies that have one value for each row.
func (s *Store) doShares(ctx context.Context, shares []*share, read func(sh *share, k, i int) error) error {
	return s.doTrips(ctx, shares, func(sh *share) error {
		if len(sh.reply) < len(sh.rows) {
			return errors.New("redisstore: the answer is too short")
		}
		for k, i := range sh.rows {
			if err := read(sh, k, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// doTrips sends shares and reads their answers. If a writing step was done
// in part, its error is uncertain.
func (s *Store) doTrips(ctx context.Context, shares []*share, read func(sh *share) error) error {
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
		if e := read(sh); e != nil {
			return uncertain(e)
		}
	}
	if err != nil && done > 0 && len(shares) > 0 && shares[0].script.writes {
		return uncertain(err)
	}
	return err
}

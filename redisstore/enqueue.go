package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

// perPipeline is how many bytes of rows travel together, and in one script,
// at most: the next wait until these are answered. A larger row travels
// alone.
const perPipeline = 4 << 20

// Enqueue accepts rows in shares of at most 200 rows and 4 MiB of one
// partition. Each share is atomic. If some shares were applied and some
// not, the results have those that were, and the error is uncertain and
// names the others.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(rows) == 0 {
		return nil, ctx.Err()
	}
	if r.NoWait {
		ctx = context.WithValue(ctx, hurried{}, true)
	}
	byPart, err := s.spread(rows)
	if err != nil {
		return nil, err
	}
	results := make([]onceq.EnqueueResult, len(rows))
	read := s.answerHeld(ctx, rows, byPart, results)
	if read == len(rows) {
		return results, nil
	}
	if read > 0 { // those go no further
		for p, places := range byPart {
			byPart[p] = slices.DeleteFunc(places, func(i int) bool { return results[i].Job != nil })
		}
	}
	var again []int // followers that cannot be answered from their leader: its ID or theirs was taken
	var first error
	for todo := stretches(rows, byPart); len(todo) > 0 && first == nil; {
		n, bytes := 0, 0
		var shares []*share
		for n < len(todo) && (n == 0 || bytes+todo[n].bytes <= perPipeline) {
			bytes += todo[n].bytes
			shares = append(shares, s.share(todo[n].part, rows, todo[n].rows, false))
			n++
		}
		todo = todo[n:]
		var alone []int
		alone, first = s.enqueueShares(ctx, rows, shares, results)
		again = append(again, alone...)
	}
	if len(again) > 0 {
		var shares []*share
		for _, i := range again {
			p, _ := s.where(&rows[i])
			shares = append(shares, s.share(p, rows, []int{i}, true))
		}
		_, err := s.enqueueShares(ctx, rows, shares, results)
		first = errors.Join(first, err)
	}
	if first == nil {
		return results, nil
	}
	var open []int
	for i := range results {
		if results[i].Job == nil {
			open = append(open, i)
		}
	}
	if len(open) == len(rows)-read && !errors.Is(first, onceq.ErrUncertain) { // nothing was written
		return nil, first
	}
	return results, fmt.Errorf("rows %s of %d: %w", ranges(open), len(rows), uncertain(first))
}

// stretch is the rows of a share to be.
type stretch struct {
	part  int
	rows  []int // their indexes in the batch
	bytes int
}

// stretches cuts the rows of each partition into shares, in their order.
func stretches(rows []onceq.NewRow, byPart [][]int) (all []stretch) {
	for p, places := range byPart {
		for len(places) > 0 {
			st := stretch{part: p}
			n := 0
			for n < min(len(places), perScript) {
				r := &rows[places[n]]
				size := 200 + len(r.Args) + len(r.Meta)
				if n > 0 && st.bytes+size > perPipeline {
					break
				}
				st.bytes += size
				n++
			}
			st.rows, places = places[:n], places[n:]
			all = append(all, st)
		}
	}
	return all
}

// ranges writes indexes as "0-199, 400".
func ranges(indexes []int) string {
	text := ""
	for i := 0; i < len(indexes); {
		k := i
		for k+1 < len(indexes) && indexes[k+1] == indexes[k]+1 {
			k++
		}
		if text != "" {
			text += ", "
		}
		if len(text) > 200 {
			return text + "…"
		}
		if text += fmt.Sprint(indexes[i]); k > i {
			text += fmt.Sprintf("-%d", indexes[k])
		}
		i = k + 1
	}
	return text
}

// spread finds the partition of each row.
func (s *Store) spread(rows []onceq.NewRow) ([][]int, error) {
	byPart := make([][]int, len(s.parts))
	if len(s.parts) == 1 {
		all := make([]int, len(rows))
		for i := range all {
			all[i] = i
		}
		byPart[0] = all
		return byPart, nil
	}
	for i := range rows {
		p, err := s.where(&rows[i])
		if err != nil {
			return nil, err
		}
		byPart[p] = append(byPart[p], i)
	}
	return byPart, nil
}

// jobsAtOnce is for how many new jobs memory is made at once. Whoever keeps one
// of them keeps that of the others.
const jobsAtOnce = 8

// enqueueShares sends shares and fills in their results. It returns the
// followers that have to be sent by themselves, and the first error.
func (s *Store) enqueueShares(ctx context.Context, rows []onceq.NewRow, shares []*share,
	results []onceq.EnqueueResult) (again []int, first error) {
	trips := make([]*trip, len(shares))
	for i := range shares {
		trips[i] = &shares[i].trip
	}
	first = s.do(ctx, trips...)
	var jobs []onceq.JobRow // for those that are inserted
	var last *onceq.NewRow  // of them, whose listeners have been told
	for _, sh := range shares {
		defer sh.done()
		if sh.err != nil {
			continue
		}
		status, details, profiles := text(sh.reply[0]), sh.reply[1:], s.profilesOf(ctx, &sh.trip)
		if status != "" && len(status) != len(sh.rows) {
			first = errors.Join(first, fmt.Errorf("redisstore: enqueue: the answer cannot be read (%w)",
				onceq.ErrUncertain))
			continue
		}
		for k, i := range sh.rows {
			became := byte('i')
			if status != "" {
				became = status[k]
			}
			switch became {
			case 'i':
				if len(jobs) == 0 {
					jobs = make([]onceq.JobRow, min(len(sh.rows)-k, jobsAtOnce))
				}
				results[i] = inserted(&rows[i], sh.now, &jobs[0])
				jobs = jobs[1:]
				if c := rows[i].Claim; c != nil && len(rows) <= perScript {
					var id [packedSize]byte
					s.holders.note(&c.Key, appendID(id[:0], rows[i].ID))
				}
				if last == nil || last.Queue != rows[i].Queue || last.Kind != rows[i].Kind {
					last = &rows[i]
					s.wakes.listeners.Due(last.Queue, last.Kind)
				}
			case 'f':
				results[i] = followed(&rows[i], results[sh.rows[sh.leader[k]]])
			case 'x':
				again = append(again, i)
			default:
				tells := 1
				switch became {
				case 's', 'r':
					tells = 2
				case 'S', 'R':
					tells = 4
				}
				if len(details) < tells {
					first = errors.Join(first, fmt.Errorf("redisstore: enqueue: the answer is too short (%w)",
						onceq.ErrUncertain))
					break
				}
				var err error
				switch became {
				case 's', 'S':
					err = skipped(&rows[i], onceq.Skipped, sh.now, details[:tells], profiles, &results[i])
				case 'r', 'R':
					err = skipped(&rows[i], onceq.Rejected, sh.now, details[:tells], profiles, &results[i])
				default:
					err = s.met(ctx, &rows[i], sh, list(details[0]), &results[i])
				}
				if tells > 1 && err == nil {
					holder, _ := holds(text(details[0]))
					s.holders.note(&rows[i].Claim.Key, []byte(holder))
				}
				if err != nil {
					first = errors.Join(first, fmt.Errorf("redisstore: read the answer for row %d: %w (%w)", i, err,
						onceq.ErrUncertain))
				}
				details = details[tells:]
			}
		}
	}
	return again, first
}

package onceq

import (
	"encoding/binary"
	"slices"

	"github.com/onceq/onceq/internal/dedup"
)

// Folding answers equal keys of one trip in this process. Of rows that only
// ask (Skip, Reject) the first is sent, and the others are answered from
// its answer. So the duplicates of a hot key cost next to nothing, and a
// store meets each key once.

// foldable reports whether a call can be answered from the answer to
// another. It must not write to a holder, and its ID must be new. A call
// that was sent before may be the holder itself, which only the store
// knows.
func (r *NewRow) foldable() bool {
	return r.Claim != nil && r.made && !r.again && !r.Reactions.Writes()
}

// rival hashes the key of the row; 0 means no key. Two rows with the same
// hash are never in two concurrent commits: where steps wait for each
// other, the second commit would wait for the first one's key, with
// everything in it.
func (r *NewRow) rival() uint64 {
	if r.Claim == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(r.Claim.Key[:]) | 1
}

// foldBatch is fold for the items of one call, which count as if they came
// one after another. If some of them write to holders, if a key may hold
// for no time, or if equal keys have different args, it folds nothing.
func foldBatch(rows []NewRow) (sent []NewRow, of []int) {
	for i := range rows {
		r := &rows[i]
		if r.Claim != nil && (!r.foldable() || r.Claim.Hold.Until == UntilDue) {
			return rows, nil
		}
	}
	if !anyEqual(rows) {
		return rows, nil
	}
	sent, of = fold(nil, pointers(rows))
	for i, at := range of {
		if c := rows[i].Claim; c != nil && c.Digest != sent[at].Claim.Digest {
			return rows, nil
		}
	}
	return sent, of
}

// anyEqual reports whether two rows have the same key.
func anyEqual(rows []NewRow) bool {
	if len(rows) < 2 {
		return false
	}
	keys := dedup.New(len(rows))
	for i := range rows {
		if rows[i].Claim == nil {
			continue
		}
		key := &rows[i].Claim.Key
		if keys.Find(binary.LittleEndian.Uint32(key[:]), i, func(n int) bool { return rows[n].Claim.Key == *key }) < i {
			return true
		}
	}
	return false
}

func pointers(rows []NewRow) []*NewRow {
	all := make([]*NewRow, len(rows))
	for i := range rows {
		all[i] = &rows[i]
	}
	return all
}

// fold appends the rows to send to sent, which is empty. of has, for each row,
// the index of the row that is sent for it; nil if each row is sent for itself.
func fold(sent []NewRow, rows []*NewRow) (_ []NewRow, of []int) {
	sent = slices.Grow(sent, len(rows))
	var keys dedup.Table
	if len(rows) > 1 {
		keys = dedup.New(len(rows))
	}
	for i, r := range rows {
		at := len(sent)
		if keys != nil && r.foldable() {
			key := &r.Claim.Key
			at = keys.Find(binary.LittleEndian.Uint32(key[:]), at, func(n int) bool {
				return sent[n].Claim.Key == *key
			})
		}
		if at < len(sent) && of == nil {
			of = make([]int, i, len(rows))
			for n := range of {
				of[n] = n
			}
		}
		if of != nil {
			of = append(of, at)
		}
		if at == len(sent) {
			sent = append(sent, *r)
		}
	}
	return sent, of
}

// unfold answers a row from the answer to an equal one. It returns false
// where that answer does not tell, because the key was not held afterwards.
func unfold(row *NewRow, leader *NewRow, r EnqueueResult) (EnqueueResult, bool) {
	var conflict Conflict
	switch {
	case row.ID == r.Job.ID:
		return EnqueueResult{}, false // a job is not a duplicate of itself
	case r.Outcome == Inserted:
		since := r.Job.EnqueuedAt
		if r.FreesAt <= since.UnixMilli() {
			return EnqueueResult{}, false // its key was held for no time
		}
		conflict = Conflict{By: "key", Key: leader.Claim.Key, Text: leader.Claim.Text, Holder: r.Job.ID,
			State: r.Job.State, Since: since,
			FreesAt: Instant(r.FreesAt), ArgsDiffer: row.Claim.Digest != leader.Claim.Digest}
		if leader.Claim.Hold.Until != UntilWindowEnds {
			conflict.FreesWhen = leader.Claim.Hold.Until.String()
		}
	case r.Conflict != nil && r.Conflict.By == "key":
		conflict = *r.Conflict
		// Of the args of the holder only this is known: whether they differ
		// from those of the row that was sent.
		conflict.ArgsDiffer = conflict.ArgsDiffer || row.Claim.Digest != leader.Claim.Digest
		if r.Conflict.ArgsDiffer && row.Claim.Digest != leader.Claim.Digest {
			return EnqueueResult{}, false
		}
	default:
		return EnqueueResult{}, false
	}
	answer := EnqueueResult{Outcome: Skipped, Job: r.Job.Clone(), Conflict: &conflict}
	if row.Reactions.Refuses() {
		answer.Outcome = Rejected
	}
	return answer, true
}

// unfoldAll answers rows from the answers to the rows that were sent for
// them. again has the indexes of rows that these do not answer.
func unfoldAll(rows []*NewRow, sent []NewRow, of []int, answers []EnqueueResult,
	failed []error) (results []EnqueueResult, errs []error, again []int) {
	results, errs = make([]EnqueueResult, len(rows)), make([]error, len(rows))
	led := make([]bool, len(sent))
	for i, at := range of {
		switch {
		case failed != nil && failed[at] != nil:
			errs[i] = failed[at]
		case !led[at]:
			led[at] = true
			results[i] = answers[at]
		default:
			if answers[at].Job == nil {
				continue // its share was not applied
			}
			var settled bool
			if results[i], settled = unfold(rows[i], &sent[at], answers[at]); !settled {
				again = append(again, i)
			}
		}
	}
	return results, errs, again
}

package onceq

import (
	"encoding/binary"

	"github.com/onceq/onceq/internal/dedup"
)

// Folding settles equal keys of one trip in process: of rows that only ask (Skip, Reject) the first is sent, and the others are answered from
// its answer. A hot key's duplicates then cost next to nothing, and a store meets each key once.

// foldable reports whether a call can be answered from another's answer: it writes to no holder, and its ID is new for sure. What
// is sent again may be the holder itself. Only the store knows.
func (r *NewRow) foldable() bool {
	return r.Claim != nil && r.made && !r.again && !r.Reactions.Writes()
}

// rival is the same for rows that want the same key, and for hardly any others; 0 where a row wants none. Where steps wait for each
// other, of two trips at once with the same new key one would wait, with all that is in it.
func (r *NewRow) rival() uint64 {
	if r.Claim == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(r.Claim.Key[:]) | 1
}

// foldBatch is fold for the items of one call, which are as if they came one after another: where some of them write to holders, or a key may
// hold for no time, or equal keys stand for different args, it leaves all as it is.
func foldBatch(rows []NewRow) (sent []NewRow, of []int) {
	all := make([]*NewRow, len(rows))
	for i := range rows {
		r := &rows[i]
		if r.Claim != nil && (!r.foldable() || r.Claim.Hold.Until == UntilDue) {
			return rows, nil
		}
		all[i] = r
	}
	if sent, of = fold(all); of == nil {
		return rows, nil
	}
	for i, at := range of {
		if c := rows[i].Claim; c != nil && c.Digest != sent[at].Claim.Digest {
			return rows, nil
		}
	}
	return sent, of
}

// fold returns the rows to send and, for each row, the index of the one that is sent for it; nil where each is its own.
func fold(rows []*NewRow) (sent []NewRow, of []int) {
	sent = make([]NewRow, 0, len(rows))
	var keys dedup.Table
	if len(rows) > 1 {
		keys = dedup.New(len(rows))
	}
	for i, r := range rows {
		at := len(sent)
		if keys != nil && r.foldable() {
			key := &r.Claim.Key
			at = keys.Find(binary.LittleEndian.Uint32(key[:]), at, func(n int) bool { return sent[n].Claim.Key == *key })
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

// unfold answers a row from the answer to an equal one. It says no where that answer settles nothing: the key was not held afterwards.
func unfold(row *NewRow, leader *NewRow, r EnqueueResult) (EnqueueResult, bool) {
	var conflict Conflict
	switch {
	case row.ID == r.Job.ID:
		return EnqueueResult{}, false // nobody is a duplicate of itself
	case r.Outcome == Inserted:
		since := r.Job.EnqueuedAt
		if r.FreesAt <= since.UnixMilli() {
			return EnqueueResult{}, false // it held for no time
		}
		conflict = Conflict{By: "key", Key: leader.Claim.Key, Text: leader.Claim.Text, Holder: r.Job.ID, State: r.Job.State, Since: since,
			FreesAt: Instant(r.FreesAt), ArgsDiffer: row.Claim.Digest != leader.Claim.Digest}
		if leader.Claim.Hold.Until != UntilWindowEnds {
			conflict.FreesWhen = leader.Claim.Hold.Until.String()
		}
	case r.Conflict != nil && r.Conflict.By == "key":
		conflict = *r.Conflict
		// Of the holder's args only this is known: whether they differ from the leader's.
		conflict.ArgsDiffer = conflict.ArgsDiffer || row.Claim.Digest != leader.Claim.Digest
		if r.Conflict.ArgsDiffer && row.Claim.Digest != leader.Claim.Digest {
			return EnqueueResult{}, false
		}
	default:
		return EnqueueResult{}, false
	}
	job := *r.Job
	answer := EnqueueResult{Outcome: Skipped, Job: &job, Conflict: &conflict}
	if row.Reactions.Refuses() {
		answer.Outcome = Rejected
	}
	return answer, true
}

// unfoldAll answers rows from the answers to those that were sent for them. again are those that this does not settle.
func unfoldAll(rows []*NewRow, sent []NewRow, of []int, answers []EnqueueResult, failed []error) (results []EnqueueResult, errs []error, again []int) {
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
				continue // of a share that was not applied
			}
			var settled bool
			if results[i], settled = unfold(rows[i], &sent[at], answers[at]); !settled {
				again = append(again, i)
			}
		}
	}
	return results, errs, again
}

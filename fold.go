package onceq

import (
	"encoding/binary"

	"github.com/onceq/onceq/internal/firsts"
)

// Folding settles equal keys of one group commit in process: of calls that only ask (Skip, Reject) and meet in one trip, the first is
// sent and the others are answered from its answer. A hot key's duplicates then cost next to nothing.

// foldable reports whether a call can be answered from another's answer: it writes to no holder, and its ID is new for sure.
func (r *NewRow) foldable() bool { return r.Claim != nil && r.made && !r.Reactions.Writes() }

// fold returns the rows to send and, for each row, the index of the one that is sent for it; nil where each is its own.
func fold(rows []*NewRow) (sent []NewRow, of []int) {
	sent = make([]NewRow, 0, len(rows))
	var keys firsts.Table
	if len(rows) > 1 {
		keys = firsts.New(len(rows))
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
	case r.Outcome == Inserted:
		since := r.Job.EnqueuedAt
		if r.FreesAt <= since.UnixMilli() {
			return EnqueueResult{}, false // it held for no time
		}
		conflict = Conflict{By: "key", Key: leader.Claim.Key, Text: leader.Claim.Text, Holder: r.Job.ID, State: r.Job.State, Since: since,
			FreesAt: instant(r.FreesAt), ArgsDiffer: row.Claim.Digest != leader.Claim.Digest}
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

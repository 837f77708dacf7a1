package pgstore

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

// answer reads an answer_v1 and keeps it with its row. row is -1 for the
// one that only tells the time.
func (b *batch) answer(r *record) (row int, now int64) {
	_, row, now, result := b.read(r)
	if row >= 0 {
		b.results[row] = result
	}
	return row, now
}

// read reads an answer_v1. row is -1 where it is none to a row; then a holder
// in result is a worker that has a run to stop.
func (b *batch) read(r *record) (try, row int, now int64, result onceq.EnqueueResult) {
	try, row = r.int(), r.int()
	outcome := r.int()
	now = r.int64()
	frees := r.int64()
	by := r.int()
	c := onceq.Conflict{Holder: r.string()}
	state := r.int()
	c.Since, c.FreesAt, c.FreesWhen, c.Text = r.instant(), r.instant(), onceq.Until(r.int()).String(),
		looseText(r.string())
	differ, left := r.int(), r.json()
	job := r.job(now)
	switch {
	case r.err == nil && row == rowOfName:
		return try, -1, now, onceq.EnqueueResult{Conflict: &c}
	case r.err != nil, row == rowOfTime:
		return try, -1, now, result
	}
	row = b.sent[row-1]
	result = onceq.EnqueueResult{Outcome: outcomeOf[outcome], Job: job, FreesAt: frees}
	if by == 0 {
		return try, row, now, result
	}
	result.Conflict = &c
	if state >= 0 && state < len(stateOf) {
		c.State = stateOf[state]
	} else { // -1: the job is gone
		c.Gone = true
	}
	if by == byID {
		c.By, c.Text = "id", ""
		return try, row, now, result
	}
	claim := b.rows[row].Claim
	c.By, c.Key = "key", claim.Key
	switch {
	case job == nil:
		result.Job = r.gone(left, &c, claim)
	case differ == 0:
		c.Text, c.ArgsDiffer = job.KeyText, job.Digest != claim.Digest
	default:
		c.ArgsDiffer = differ == argsDiffer
	}
	return try, row, now, result
}

// judge reads a found_v2 and answers its row from it, unless the row writes
// to the holder: then row is -1.
func (b *batch) judge(r *record) (row int, now int64) {
	row = r.int() - 1
	now = r.int64()
	if r.err != nil || row < 0 || row >= len(b.sent) {
		r.fail("the number of a row was expected", row+1)
		return -1, now
	}
	row = b.sent[row]
	claim := b.rows[row].Claim
	c := &onceq.Conflict{By: "key", Key: claim.Key, Since: r.instant(), FreesAt: r.instant()}
	pending := onceq.Until(r.int())
	c.Holder = r.string()
	left, job := r.json(), r.columns(now)
	reactions := &b.rows[row].Reactions
	action := reactions.Ended
	switch {
	case job != nil:
		if c.Since.IsZero() {
			c.Since = job.EnqueuedAt
		}
		c.State, c.Text, c.ArgsDiffer = job.State, job.KeyText, job.Digest != claim.Digest
		// see named_v1
		if pending == onceq.UntilDue && job.Behind == "" && (job.Run > 0 || job.RunAt.UnixMilli() <= now) {
			pending = 0
		}
		action = reactions.On(job.State)
	case left != nil:
		job = r.gone(left, c, claim)
	default: // it just passed to another job
		return -1, now
	}
	if r.err != nil || action > onceq.ActionRefuse {
		b.writes = b.writes || r.err == nil
		return -1, now
	}
	c.FreesWhen = pending.String()
	b.results[row] = onceq.EnqueueResult{Outcome: onceq.Skipped, Job: job, Conflict: c}
	if action == onceq.ActionRefuse {
		b.results[row].Outcome = onceq.Rejected
	}
	return row, now
}

// gone reads what a key keeps of a holder whose row is gone.
func (r *record) gone(left []byte, c *onceq.Conflict, claim *onceq.Claim) *onceq.JobRow {
	var g gone
	r.decode(left, &g)
	if g.State < 0 || g.State >= len(stateOf) {
		r.fail("a state was expected", g.State)
		return nil
	}
	c.State, c.Gone = "", true
	c.Text, c.ArgsDiffer = looseText(g.Text), g.Digest != hex.EncodeToString(claim.Digest[:])
	return &onceq.JobRow{ID: c.Holder, Kind: g.Kind, Queue: g.Queue, Key: &claim.Key, KeyText: c.Text,
		State: stateOf[g.State]}
}

// gone is what a key keeps of a holder whose row is gone.
type gone struct {
	State  int    `json:"state"`
	Kind   string `json:"kind"`
	Queue  string `json:"queue"`
	Text   string `json:"text"`
	Digest string `json:"digest"`
}

// note reads an answer of act. The answers of a try that was given up are
// followed by those of the next.
func (b *batch) note(r *record) {
	try, row, _, result := b.read(r)
	if try != b.last {
		b.last, b.noted, b.halted = try, b.noted[:0], b.halted[:0]
	}
	switch {
	case row >= 0:
		b.noted = append(b.noted, noted{try, row, result})
	case result.Conflict != nil:
		b.halted = append(b.halted, result.Conflict.Holder)
	}
}

// settle makes the answers of act those of the rows.
func (b *batch) settle() error {
	for _, n := range b.noted {
		b.results[n.row], b.done[n.row] = n.result, true
		if job := n.result.Job; job.Behind == "" {
			b.fill(job.Queue, job.Kind)
		}
	}
	for _, i := range b.open {
		if !b.done[i] {
			return fmt.Errorf("the server did not answer row %d", i)
		}
	}
	b.open = b.open[:0]
	return nil
}

func (b *batch) fill(queue, kind string) {
	if b.filled == nil {
		b.filled = map[work]bool{}
	}
	b.filled[work{queue, kind}] = true
}

// insertedAll answers the open rows that have no answer: they were inserted
// at this instant.
func (b *batch) insertedAll(now int64) {
	for _, i := range b.open {
		if !b.done[i] {
			b.results[i] = b.inserted(i, now)
			b.done[i] = true
		}
	}
	b.open = b.open[:0]
}

// inserted is the answer to a row that insert_v1 inserted at this instant;
// the function does not return the row.
func (b *batch) inserted(i int, now int64) onceq.EnqueueResult {
	r := &b.rows[i]
	runAt := now + r.Delay.Milliseconds()
	if !r.RunAt.IsZero() {
		runAt = max(now, r.RunAt.UnixMilli())
	}
	j := &onceq.JobRow{
		ID: r.ID, Kind: r.Kind, Queue: r.Queue, Args: slices.Clone(r.Args), Encoding: r.Encoding,
		Tags: slices.Clone(r.Tags), State: onceq.Scheduled,
		Priority: r.Priority, MaxAttempts: r.MaxAttempts, Timeout: r.Timeout, Retention: r.Retention,
		RetentionFailed: r.RetentionFailed,
		Origin:          onceq.Inserted, Extra: bytes.Clone(r.Extra),
		EnqueuedAt: onceq.Instant(now), RunAt: onceq.Instant(runAt),
	}
	if runAt <= now {
		j.State = onceq.Available
	}
	if r.Meta != nil {
		j.Meta, _ = decodeMeta(r.Meta) // the server accepted it as JSON
	}
	b.fill(r.Queue, r.Kind)
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j}
	if c := r.Claim; c != nil {
		key := c.Key
		anchor := c.Hold.AnchorAt(now, runAt)
		j.Key, j.KeyText, j.Hold, j.Digest, j.Anchor = &key, c.Text, c.Hold, c.Digest, onceq.Instant(anchor)
		result.FreesAt = c.Hold.FreesAt(anchor, runAt)
	}
	return result
}

package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

// What became of a row that was judged.
const (
	answerInserted = iota + 1
	answerEcho     // this call was sent twice
	answerID       // the ID is taken
	answerKey      // the key is held
)

var outcomes = [...]onceq.Outcome{onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced, onceq.Superseded}

// inserted is the answer for a new job, which it makes of j. All of it is known
// here, except the time.
func inserted(r *onceq.NewRow, now int64, j *onceq.JobRow) onceq.EnqueueResult {
	runAt := now + r.Delay.Milliseconds()
	if !r.RunAt.IsZero() {
		runAt = max(now, r.RunAt.UnixMilli())
	}
	j.ID, j.Kind, j.Queue, j.Encoding = r.ID, r.Kind, r.Queue, r.Encoding
	if r.Args != nil {
		j.Args = append([]byte{}, r.Args...)
	}
	if len(r.Tags) > 0 {
		j.Tags = slices.Clone(r.Tags)
	}
	if r.Extra != nil {
		j.Extra = bytes.Clone(r.Extra)
	}
	j.State, j.Priority, j.MaxAttempts, j.Timeout = onceq.Scheduled, r.Priority, r.MaxAttempts, r.Timeout
	j.Retention, j.RetentionFailed = r.Retention, r.RetentionFailed
	j.Origin, j.EnqueuedAt, j.RunAt = onceq.Inserted, onceq.Instant(now), onceq.Instant(runAt)
	if runAt <= now {
		j.State = onceq.Available
	}
	if len(r.Meta) > 0 {
		j.Meta = readMeta(string(r.Meta))
	}
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j}
	if c := r.Claim; c != nil {
		anchor := c.Hold.AnchorAt(now, runAt)
		j.Key, j.KeyText, j.Hold, j.Digest, j.Anchor = &c.Key, c.Text, c.Hold, c.Digest, onceq.Instant(anchor)
		if frees := c.Hold.FreesAt(anchor, runAt); frees > now {
			result.FreesAt = frees
		}
	}
	return result
}

// followed is the answer for a row that met the same key as its leader at
// the same instant.
func followed(r *onceq.NewRow, leader onceq.EnqueueResult) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Skipped}
	if r.Reactions.Refuses() {
		result.Outcome = onceq.Rejected
	}
	if leader.Job == nil {
		return result // the answer of its leader could not be read
	}
	job := leader.Job.Clone()
	result.Job = job
	var c onceq.Conflict
	if leader.Conflict != nil {
		c = *leader.Conflict
	} else {
		c = onceq.Conflict{By: "key", Key: r.Claim.Key, Text: job.KeyText, Holder: job.ID, State: job.State,
			Since:   job.EnqueuedAt,
			FreesAt: onceq.Instant(leader.FreesAt), FreesWhen: job.Hold.Until.String()}
		if job.Hold.Until == onceq.UntilWindowEnds {
			c.FreesWhen = ""
		}
	}
	c.ArgsDiffer = job.Digest != r.Claim.Digest
	result.Conflict = &c
	return result
}

// met reads the answer for a row that met a job.
func (s *Store) met(ctx context.Context, r *onceq.NewRow, sh *share, v []any, result *onceq.EnqueueResult) error {
	read := func(id string, v any) (*job, error) { return s.readTriple(ctx, &sh.trip, id, v) }
	if len(v) == 0 {
		return errors.New("there is no answer")
	}
	switch code := number(v[0]); {
	case code == answerEcho && len(v) == 5:
		j, err := read(r.ID, v[2])
		if err != nil {
			return err
		}
		*result = onceq.EnqueueResult{Outcome: j.Origin, Job: &j.JobRow}
		if j.Origin == onceq.Inserted {
			if row := text(v[3]); row != "" {
				if holder, frees := holds(row); unpackID(holder) == r.ID && frees > sh.now {
					result.FreesAt = frees
				}
			}
			return nil
		}
		c := &onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.Displaced, Since: j.EnqueuedAt}
		old, err := read(j.Displaced, v[4])
		if err != nil {
			return err
		}
		if old != nil {
			c.State, c.Since, c.ArgsDiffer = old.State, old.EnqueuedAt, old.Digest != j.Digest
		} else {
			c.Gone = true
		}
		result.Conflict = c
		return nil
	case code == answerID && len(v) == 2:
		j, err := read(r.ID, v[1])
		if err != nil {
			return err
		}
		*result = onceq.EnqueueResult{Outcome: onceq.Skipped, Job: &j.JobRow}
		if r.Reactions.Refuses() || j.Kind != r.Kind {
			result.Outcome = onceq.Rejected
		}
		result.Conflict = &onceq.Conflict{By: "id", Holder: j.ID, State: j.State, Since: j.EnqueuedAt}
		return nil
	case code == answerKey && len(v) == 5:
		row := text(v[2])
		id, _ := holds(row)
		holder, err := read(id, v[3])
		if err != nil {
			return err
		}
		var held onceq.HeldKey
		if err := readKey(&held, r.Claim.Key, row, holder); err != nil {
			return err
		}
		outcome := number(v[1])
		if outcome < 0 || int(outcome) >= len(outcomes) {
			return fmt.Errorf("outcome %d", outcome)
		}
		*result = onceq.EnqueueResult{Outcome: outcomes[outcome], Conflict: held.Conflict(r.Claim.Digest)}
		stands := v[4]
		if list(stands) == nil {
			if holder != nil {
				result.Job = &holder.JobRow
				return nil
			}
			key := r.Claim.Key
			result.Job = &onceq.JobRow{ID: held.Holder, Kind: held.Kind, Queue: held.Queue, Key: &key,
				KeyText: held.Text, State: held.State}
			return nil
		}
		j, err := read("", stands)
		if err != nil {
			return err
		}
		result.Job = &j.JobRow
		return nil
	}
	return fmt.Errorf("the answer is %v", v[0])
}

// skipped reads the answer for a row that met the holder of its key and
// does not write: the row of the key, and three fields of the holder.
func skipped(r *onceq.NewRow, outcome onceq.Outcome, now int64, v []any, profiles func(string) (*profile, error),
	result *onceq.EnqueueResult) error {
	row := text(v[0])
	id, _ := holds(row)
	head, errs := "", ""
	if len(v) == 4 {
		head, errs = text(v[2]), text(v[3])
	}
	holder, err := readJob(id, text(v[1]), head, errs, now, profiles)
	if err != nil {
		return err
	}
	var held onceq.HeldKey
	if err := readKey(&held, r.Claim.Key, row, holder); err != nil {
		return err
	}
	*result = onceq.EnqueueResult{Outcome: outcome, Conflict: held.Conflict(r.Claim.Digest), Job: &holder.JobRow}
	return nil
}

// holds reads from the row of a key who holds it (packed), and when a clock
// frees it.
func holds(row string) (id string, frees int64) {
	if row == "" || row[0] != 0 {
		return row, onceq.Never
	}
	r := reader{s: row}
	r.num(3)
	frees = r.instant()
	r.num(6)
	return r.name(), frees
}

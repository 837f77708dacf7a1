package storecopy

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// original is a job of FROM, and how it comes to be in TO.
type original struct {
	id     string // in FROM
	row    onceq.NewRow
	state  onceq.State // in which it is to end; a waiting state = in none
	failed string      // the last error of a finished job
	result []byte
	gone   bool // only its key is left
	over   bool // its retention is over: the next worker would remove it
}

const (
	// farAway keeps a worker from fetching the copy of a finished job before that
	// has ended too.
	farAway = 90 * 365 * 24 * time.Hour
	// unlikely is beyond what any job of a user waits: a copy that waits longer
	// was left by a copy that was cut.
	unlikely = 80 * 365 * 24 * time.Hour
	periodic = "onceq.periodic" // the kind of a schedule
)

// originalOf decides how a job is copied. k is the key that it holds; nil = it
// holds none. now is the clock of FROM.
func originalOf(j *onceq.JobRow, k *onceq.HeldKey, now int64) (original, error) {
	meta := j.Meta
	if j.Kind == periodic && meta["after"] == nil {
		// Ticks count from the enqueue, and that of the copy would be later.
		meta = map[string]any{"after": j.EnqueuedAt}
		for name, value := range j.Meta {
			meta[name] = value
		}
	}
	o := original{
		state: j.State,
		row: onceq.NewRow{ID: j.ID, Nonce: nonce(), Kind: j.Kind, Queue: j.Queue, Args: j.Args,
			Encoding: j.Encoding, Tags: j.Tags, Extra: j.Extra, Priority: j.Priority,
			MaxAttempts: max(j.MaxAttempts-j.Attempt, 1), Timeout: j.Timeout, Retention: j.Retention,
			RetentionFailed: j.RetentionFailed, RunAt: j.RunAt},
	}
	if len(meta) > 0 {
		text, err := json.Marshal(meta)
		if err != nil {
			return o, fmt.Errorf("encode the meta of job %s: %w", j.ID, err)
		}
		o.row.Meta = text
	}
	if k != nil {
		o.row.Claim = &onceq.Claim{Key: k.Key, Text: k.Text, Digest: j.Digest, Hold: holdOf(j, k, now)}
	}
	if j.State.Finished() {
		left := time.Duration(j.KeepUntil().UnixMilli()-now) * time.Millisecond
		o.over, o.result = left <= 0, j.Result
		if n := len(j.Errors); n > 0 {
			o.failed = j.Errors[n-1].Error
		}
		o.row.Retention, o.row.RetentionFailed = max(left, time.Millisecond), max(left, time.Millisecond)
		o.end()
	}
	return o, nil
}

// goneOriginal makes the job that leaves in TO what a holder that is gone left in
// FROM: its key, for the rest of the time.
func goneOriginal(k *onceq.HeldKey, now int64) original {
	o := original{
		state: k.State,
		gone:  true,
		row: onceq.NewRow{ID: k.Holder, Nonce: nonce(), Kind: k.Kind, Queue: k.Queue,
			Args: []byte("null"), Encoding: onceq.EncodingJSON, Priority: 5,
			Claim: &onceq.Claim{Key: k.Key, Text: k.Text, Digest: k.Digest, Hold: rest(k, now)}},
	}
	if !o.state.Finished() { // it was deleted while it waited
		o.state = onceq.Cancelled
	}
	o.end()
	return o
}

// end says of the copy of a finished job that it is never to run. With one attempt
// it is discarded, and not tried again, if the copy is cut after its start.
func (o *original) end() {
	o.row.MaxAttempts, o.row.RunAt, o.row.Delay = 1, time.Time{}, farAway
}

// holdOf are the terms under which the copy holds its key exactly as long as the
// original would. They are the same, unless a clock counts from an instant
// that the copy does not have: then the copy counts what is left, from now.
func holdOf(j *onceq.JobRow, k *onceq.HeldKey, now int64) onceq.Hold {
	h := j.Hold
	switch {
	case k.FreesWhen == "": // the event has come
		return rest(k, now)
	case h.Window == 0 && h.TTL == 0:
		return h
	case !h.FromEnqueue && j.State.Waiting() && j.RunAt.UnixMilli() > now && j.Anchor.Equal(j.RunAt):
		return h
	}
	since := time.Duration(now-j.Anchor.UnixMilli()) * time.Millisecond
	h.FromEnqueue, h.Window = true, max(h.Window-since, 0)
	if h.TTL > 0 {
		h.TTL = max(h.TTL-since, time.Millisecond)
	}
	return h
}

// rest holds a key until the clock that frees it in FROM.
func rest(k *onceq.HeldKey, now int64) onceq.Hold {
	left := time.Duration(k.FreesAt.UnixMilli()-now) * time.Millisecond
	return onceq.Hold{Until: onceq.UntilWindowEnds, Window: max(left, time.Millisecond), FromEnqueue: true}
}

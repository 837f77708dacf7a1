package onceq

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq/internal/jsontext"
)

// This file is the JSON of everything that a client answers. The command
// prints these bytes with --json, and an HTTP handler that encodes the same
// values says the same (internal/wire has what is made of several values).
// docs/json.md has each shape with an example.
//
// An instant is RFC 3339 in UTC with three digits of a second, a length of
// time is a number of milliseconds and its name ends in _ms. A member that is
// unknown, zero or false is left out. Those that say something by being false
// or null are always there: duplicate, args_differ, paused, ok; the job and
// conflict of a receipt, the key and conflict of an explanation, the waiter
// of a key.

func stamp(t time.Time) string { return jsontext.Time(t).String() }

// orNull is a text, or null where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// MarshalJSON writes JSON args as they are into "args", and opaque args as
// base64 into "args_base64"; "encoded_by" names the codec that made these. A
// list without args has none of them. Of a job whose row is gone it writes
// what the key row keeps.
func (j JobRow) MarshalJSON() ([]byte, error) {
	if j.EnqueuedAt.IsZero() {
		return jsontext.Encode(struct {
			ID      string `json:"id"`
			Kind    string `json:"kind"`
			Queue   string `json:"queue"`
			State   State  `json:"state"`
			Key     *Key   `json:"key,omitempty"`
			KeyText string `json:"key_text,omitempty"`
		}{j.ID, j.Kind, j.Queue, j.State, j.Key, j.KeyText})
	}
	shown := struct {
		ID              string          `json:"id"`
		Kind            string          `json:"kind"`
		Queue           string          `json:"queue"`
		Args            json.RawMessage `json:"args,omitempty"`
		ArgsBase64      []byte          `json:"args_base64,omitzero"`
		Encoding        string          `json:"encoding"`
		EncodedBy       string          `json:"encoded_by,omitempty"`
		Meta            map[string]any  `json:"meta,omitempty"`
		Tags            []string        `json:"tags,omitempty"`
		State           State           `json:"state"`
		Priority        int             `json:"priority"`
		Attempt         int             `json:"attempt"`
		MaxAttempts     int             `json:"max_attempts"`
		Run             int64           `json:"run"`
		Timeout         int64           `json:"timeout_ms,omitempty"`
		Retention       int64           `json:"retention_ms"`
		RetentionFailed *int64          `json:"retention_failed_ms,omitempty"`
		Backoff         *storedBackoff  `json:"backoff,omitempty"`
		Trace           *TraceContext   `json:"trace,omitempty"`
		Key             *Key            `json:"key,omitempty"`
		KeyText         string          `json:"key_text,omitempty"`
		Hold            Hold            `json:"hold,omitzero"`
		Anchor          jsontext.Time   `json:"anchor,omitzero"`
		Keyless         bool            `json:"keyless,omitempty"`
		Behind          string          `json:"behind,omitempty"`
		Origin          Outcome         `json:"origin,omitempty"`
		Displaced       string          `json:"displaced,omitempty"`
		SupersededBy    string          `json:"superseded_by,omitempty"`
		CancelRequested bool            `json:"cancel_requested,omitempty"`
		Worker          string          `json:"worker,omitempty"`
		EnqueuedAt      jsontext.Time   `json:"enqueued_at"`
		RunAt           jsontext.Time   `json:"run_at,omitzero"`
		StartedAt       jsontext.Time   `json:"started_at,omitzero"`
		FinishedAt      jsontext.Time   `json:"finished_at,omitzero"`
		KeepUntil       jsontext.Time   `json:"keep_until,omitzero"`
		Errors          []AttemptError  `json:"errors,omitempty"`
		Result          json.RawMessage `json:"result,omitempty"`
	}{
		ID: j.ID, Kind: j.Kind, Queue: j.Queue, Encoding: j.Encoding, EncodedBy: j.EncodedBy(), Meta: j.Meta,
		Tags: j.Tags, State: j.State,
		Priority: j.Priority, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Run: j.Run,
		Timeout: j.Timeout.Milliseconds(), Retention: j.Retention.Milliseconds(),
		RetentionFailed: j.ownRetentionFailed(), Backoff: j.Backoff().stored(), Trace: j.Trace().shown(),
		Key: j.Key, KeyText: j.KeyText, Hold: j.Hold, Anchor: jsontext.Time(j.Anchor), Keyless: j.Keyless,
		Behind: j.Behind, Origin: j.Origin, Displaced: j.Displaced, SupersededBy: j.SupersededBy,
		CancelRequested: j.CancelRequested, Worker: j.Worker,
		EnqueuedAt: jsontext.Time(j.EnqueuedAt), RunAt: jsontext.Time(j.RunAt), StartedAt: jsontext.Time(j.StartedAt),
		FinishedAt: jsontext.Time(j.FinishedAt), KeepUntil: jsontext.Time(j.KeepUntil()), Errors: j.Errors,
		Result: j.Result,
	}
	if j.Encoding == EncodingBytes {
		shown.ArgsBase64 = j.Args
	} else {
		shown.Args = j.Args
	}
	return jsontext.Encode(shown)
}

// MarshalJSON writes the error and its stack as they are kept.
func (e AttemptError) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Attempt int           `json:"attempt"`
		Run     int64         `json:"run"`
		At      jsontext.Time `json:"at,omitzero"`
		Error   string        `json:"error"`
		Stack   string        `json:"stack,omitempty"`
	}{e.Attempt, e.Run, jsontext.Time(e.At), e.Error, e.Stack})
}

// MarshalJSON writes lengths of time in milliseconds.
func (h Hold) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Until       Until `json:"until"`
		Window      int64 `json:"window_ms,omitempty"`
		TTL         int64 `json:"ttl_ms,omitempty"`
		FromEnqueue bool  `json:"from_enqueue,omitempty"`
	}{h.Until, h.Window.Milliseconds(), h.TTL.Milliseconds(), h.FromEnqueue})
}

// MarshalJSON adds "duplicate". The receipt of an item without an answer
// (see [UncertainError]) is null.
func (r Receipt) MarshalJSON() ([]byte, error) {
	if r.Job == nil {
		return []byte("null"), nil
	}
	return jsontext.Encode(struct {
		Outcome   Outcome   `json:"outcome"`
		Duplicate bool      `json:"duplicate"`
		Job       *JobRow   `json:"job"`
		Conflict  *Conflict `json:"conflict"`
	}{r.Outcome, r.Duplicate(), r.Job, r.Conflict})
}

// MarshalJSON writes the readable key as "key_text". A conflict by ID has no
// key.
func (c Conflict) MarshalJSON() ([]byte, error) {
	shown := struct {
		By           string        `json:"by"`
		Key          *Key          `json:"key,omitempty"`
		KeyText      string        `json:"key_text,omitempty"`
		Holder       string        `json:"holder"`
		State        State         `json:"state,omitempty"`
		Gone         bool          `json:"gone,omitempty"`
		HolderKind   string        `json:"holder_kind,omitempty"`
		Since        jsontext.Time `json:"since,omitzero"`
		HolderDue    jsontext.Time `json:"holder_due,omitzero"`
		FreesAt      jsontext.Time `json:"frees_at,omitzero"`
		FreesWhen    string        `json:"frees_when,omitempty"`
		KeptUntil    jsontext.Time `json:"keep_until,omitzero"`
		ArgsDiffer   bool          `json:"args_differ"`
		RunAtDiffers bool          `json:"run_at_differs,omitempty"`
	}{By: c.By, Holder: c.Holder, State: c.State, Gone: c.Gone, HolderKind: c.HolderKind, Since: jsontext.Time(c.Since),
		FreesAt: jsontext.Time(c.FreesAt), FreesWhen: c.FreesWhen, KeptUntil: jsontext.Time(c.KeptUntil),
		ArgsDiffer: c.ArgsDiffer, HolderDue: jsontext.Time(c.HolderDue), RunAtDiffers: c.RunAtDiffers}
	if c.By == "key" {
		shown.Key, shown.KeyText = &c.Key, c.Text
	}
	return jsontext.Encode(shown)
}

// MarshalJSON writes the terms as one object, in their order.
func (e Explanation) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Key      *Key      `json:"key"`
		KeyText  string    `json:"key_text,omitempty"`
		Outcome  Outcome   `json:"outcome"`
		Conflict *Conflict `json:"conflict"`
		Terms    terms     `json:"terms"`
		Hint     string    `json:"hint,omitempty"`
	}{e.Key, e.Text, e.Outcome, e.Conflict, e.Terms, e.Hint})
}

// terms are terms by name.
type terms []Term

// MarshalJSON writes {"window_ms":{"value":300000,"from":"call"}}.
func (all terms) MarshalJSON() ([]byte, error) {
	objects := make([]any, len(all))
	for i, t := range all {
		objects[i] = map[string]any{t.Name: struct {
			Value any    `json:"value"`
			From  string `json:"from"`
		}{t.Value, t.From}}
	}
	return jsontext.Join(objects...)
}

// MarshalJSON writes the readable key as "key_text".
func (k HeldKey) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Key       Key           `json:"key"`
		KeyText   string        `json:"key_text,omitempty"`
		Kind      string        `json:"kind"`
		Queue     string        `json:"queue"`
		Holder    string        `json:"holder"`
		State     State         `json:"state,omitempty"`
		Gone      bool          `json:"gone,omitempty"`
		Since     jsontext.Time `json:"since,omitzero"`
		FreesAt   jsontext.Time `json:"frees_at,omitzero"`
		FreesWhen string        `json:"frees_when,omitempty"`
		Waiter    *string       `json:"waiter"`
		Inert     bool          `json:"inert,omitempty"`
	}{k.Key, k.Text, k.Kind, k.Queue, k.Holder, k.State, k.Gone, jsontext.Time(k.Since), jsontext.Time(k.FreesAt),
		k.FreesWhen, orNull(k.Waiter), k.Inert})
}

// MarshalJSON writes all seven states, and in "at_least" those whose count is
// a lower bound.
func (q QueueInfo) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Queue     string        `json:"queue"`
		Paused    bool          `json:"paused"`
		Until     jsontext.Time `json:"paused_until,omitzero"`
		Counts    counts        `json:"counts"`
		AtLeast   []State       `json:"at_least"`
		OldestDue jsontext.Time `json:"oldest_due,omitzero"`
	}{q.Name, q.Paused, jsontext.Time(q.PausedUntil), q.Counts, list(q.AtLeast), jsontext.Time(q.OldestDue)})
}

// MarshalJSON writes the job of the last tick with its ID and state only.
func (p PeriodicInfo) MarshalJSON() ([]byte, error) {
	type job struct {
		ID    string `json:"id"`
		State State  `json:"state"`
	}
	var last *job
	if p.Last != nil {
		last = &job{p.Last.ID, p.Last.State}
	}
	return jsontext.Encode(struct {
		Name     string        `json:"name"`
		Schedule string        `json:"schedule"`
		Zone     string        `json:"zone"`
		Kind     string        `json:"kind"`
		Queue    string        `json:"queue"`
		CatchUp  CatchUp       `json:"catch_up"`
		JitterMS int64         `json:"jitter_ms,omitzero"`
		Source   string        `json:"source"`
		Paused   bool          `json:"paused"`
		Next     jsontext.Time `json:"next,omitzero"`
		LastTick jsontext.Time `json:"last_tick,omitzero"`
		Last     *job          `json:"last_job"`
		Orphan   jsontext.Time `json:"orphan_since,omitzero"`
		Error    string        `json:"error,omitzero"`
	}{p.Name, p.Schedule, p.Zone, p.Kind, p.Queue, p.CatchUp, p.Jitter.Milliseconds(), p.Source, p.Paused,
		jsontext.Time(p.Next), jsontext.Time(p.LastTick), last, jsontext.Time(p.Orphan), p.Error})
}

// MarshalJSON writes what the worker says of itself as it is.
func (w WorkerInfo) MarshalJSON() ([]byte, error) {
	about := json.RawMessage(w.About)
	if !json.Valid(about) {
		about = nil
	}
	return jsontext.Encode(struct {
		Worker     string          `json:"worker"`
		Since      jsontext.Time   `json:"since,omitzero"`
		BeatAt     jsontext.Time   `json:"beat_at,omitzero"`
		LeaseUntil jsontext.Time   `json:"lease_until,omitzero"`
		Late       bool            `json:"late"`
		Running    int             `json:"running"`
		Slots      map[string]int  `json:"slots,omitempty"`
		About      json.RawMessage `json:"about"`
	}{w.Name, jsontext.Time(w.Since), jsontext.Time(w.BeatAt), jsontext.Time(w.LeaseUntil), w.Late, w.Running,
		w.Slots, about})
}

// MarshalJSON has the counts of each series as lists, an entry for each step.
func (s Stats) MarshalJSON() ([]byte, error) {
	bounds := make([]int64, len(RunClasses))
	for i, d := range RunClasses {
		bounds[i] = d.Milliseconds()
	}
	return jsontext.Encode(struct {
		Now        jsontext.Time `json:"now"`
		From       jsontext.Time `json:"from"`
		Step       int64         `json:"step_ms"`
		Covers     jsontext.Time `json:"covers_until"`
		RunClasses []int64       `json:"run_classes_ms"`
		Series     []Series      `json:"series"`
		Hot        []HotKey      `json:"hot"`
		Seen       []Sighting    `json:"seen"`
		Terms      []KindTerms   `json:"terms"`
	}{jsontext.Time(s.Now), jsontext.Time(s.From), s.Step.Milliseconds(), jsontext.Time(s.CoversUntil()), bounds,
		list(s.Series), list(s.Hot), list(s.Seen), list(s.Terms)})
}

// MarshalJSON names outcomes and ends of runs.
func (s Series) MarshalJSON() ([]byte, error) {
	points := func(of func(*Count) int64) []int64 {
		values := make([]int64, len(s.Points))
		for i := range s.Points {
			values[i] = of(&s.Points[i])
		}
		return values
	}
	objects := []any{struct {
		Queue string `json:"queue"`
		Kind  string `json:"kind"`
	}{s.Queue, s.Kind}}
	for i, name := range enqueuedNames {
		objects = append(objects, map[string]any{string(name): points(func(c *Count) int64 { return c.Enqueued[i] })})
	}
	for i, name := range endedNames {
		objects = append(objects, map[string]any{name: points(func(c *Count) int64 { return c.Ended[i] })})
	}
	total := s.Total()
	objects = append(objects, struct {
		Wait  []int64  `json:"wait_ms"`
		Run   []int64  `json:"run_ms"`
		Class [8]int64 `json:"run_class"`
	}{points(func(c *Count) int64 { return c.WaitMS }), points(func(c *Count) int64 { return c.RunMS }),
		total.RunClass})
	return jsontext.Join(objects...)
}

// MarshalJSON says that the count is a lower bound.
func (k HotKey) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Key     Key           `json:"key"`
		KeyText string        `json:"key_text,omitempty"`
		Kind    string        `json:"kind"`
		AtLeast int64         `json:"at_least"`
		LastAt  jsontext.Time `json:"last_at,omitzero"`
		Holder  string        `json:"holder"`
	}{k.Key, k.Text, k.Kind, k.Count, jsontext.Time(k.LastAt), k.Holder})
}

// MarshalJSON puts what was met among the other members.
func (s Sighting) MarshalJSON() ([]byte, error) {
	return jsontext.Join(struct {
		At      jsontext.Time `json:"at"`
		Kind    string        `json:"kind"`
		Queue   string        `json:"queue"`
		Outcome Outcome       `json:"outcome"`
		From    string        `json:"from"`
	}{jsontext.Time(s.At), s.Kind, s.Queue, s.Outcome, s.From}, s.Conflict)
}

// MarshalJSON is as the fields are.
func (k KindTerms) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Queue   string        `json:"queue"`
		Kind    string        `json:"kind"`
		Terms   string        `json:"terms"`
		FirstAt jsontext.Time `json:"first_at"`
		LastAt  jsontext.Time `json:"last_at"`
	}{k.Queue, k.Kind, k.Terms, jsontext.Time(k.FirstAt), jsontext.Time(k.LastAt)})
}

// list is a list that is [] where it is empty.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// counts are jobs by state.
type counts map[State]int

// MarshalJSON writes every state, in the order of a job's life.
func (c counts) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, s := range States() {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, string(s))
		b = strconv.AppendInt(append(b, ':'), int64(c[s]), 10)
	}
	return append(b, '}'), nil
}

// MarshalJSON adds "ok".
func (r DoctorReport) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		OK         bool        `json:"ok"`
		Jobs       int         `json:"jobs"`
		Reserved   int         `json:"reserved"`
		Keys       int         `json:"keys"`
		Inert      int         `json:"inert"`
		Violations []Violation `json:"violations"`
		Growth     []string    `json:"growth,omitempty"`
	}{r.OK(), r.Jobs, r.Reserved, r.Keys, r.Inert, list(r.Violations), r.Growth})
}

// MarshalJSON leaves out what is not concerned.
func (v Violation) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Code    string `json:"code"`
		Job     string `json:"job,omitempty"`
		Key     *Key   `json:"key,omitempty"`
		KeyText string `json:"key_text,omitempty"`
		Text    string `json:"text"`
	}{v.Code, v.Job, v.Key, v.KeyText, v.Text})
}

// MarshalJSON writes the whole sentence as "detail".
func (e *InvalidError) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Field  string `json:"field"`
		Value  string `json:"value"`
		Rule   string `json:"rule"`
		Detail string `json:"detail"`
	}{cmp.Or(strings.Join(e.Path, "/"), e.Field), e.Value, e.Rule, e.Error()})
}

// MarshalJSON writes the whole sentence as "detail".
func (e *DuplicateError) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		Kind     string    `json:"kind"`
		Queue    string    `json:"queue"`
		Conflict *Conflict `json:"conflict"`
		Detail   string    `json:"detail"`
	}{e.Kind, e.Queue, &e.Conflict, e.Error()})
}

// MarshalJSON writes the IDs of the jobs that may exist, of a batch with the
// indexes of the items without an answer, and the whole sentence as "detail".
func (e *UncertainError) MarshalJSON() ([]byte, error) {
	return jsontext.Encode(struct {
		ID      string   `json:"id"`
		IDs     []string `json:"ids"`
		Indexes []int    `json:"indexes,omitempty"`
		Detail  string   `json:"detail"`
	}{e.ID, e.IDs, e.Items, e.Error()})
}

// ownRetentionFailed is the retention of a failed job in milliseconds, unless
// it is that of any other.
func (j *JobRow) ownRetentionFailed() *int64 {
	if j.RetentionFailed == j.Retention {
		return nil
	}
	ms := j.RetentionFailed.Milliseconds()
	return &ms
}

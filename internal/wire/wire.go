// Package wire has the JSON of answers that are more than one value of
// package onceq. The command prints it, and an HTTP handler that answers with
// the same values says the same, byte for byte. docs/json.md has each shape
// with an example.
package wire

import (
	"errors"
	"io"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
)

// WriteLine writes a value on one line.
func WriteLine(to io.Writer, v any) error {
	b, err := jsontext.Encode(v)
	if err != nil {
		return err
	}
	_, err = to.Write(append(b, '\n'))
	return err
}

// Job is a job and who holds its key.
type Job struct {
	Job  *onceq.JobRow  // never nil
	Held *onceq.HeldKey // nil: the job has no key, or it is free
}

// MarshalJSON adds "held_key" to the members of the job.
func (j Job) MarshalJSON() ([]byte, error) {
	return jsontext.Join(j.Job, struct {
		Held *onceq.HeldKey `json:"held_key"`
	}{j.Held})
}

// Line is what became of one line of many enqueues.
type Line struct {
	No      int           // of the line, from 1
	Receipt onceq.Receipt // where it was accepted
	Refused error         // else why it was not
}

// MarshalJSON puts the number before the members of the receipt, or before
// "refused".
func (l Line) MarshalJSON() ([]byte, error) {
	no := struct {
		Line int `json:"line"`
	}{l.No}
	if l.Refused == nil {
		return jsontext.Join(no, l.Receipt)
	}
	return jsontext.Join(no, struct {
		Refused Problem `json:"refused"`
	}{Problem{l.Refused}})
}

// Problem is an error as an object.
type Problem struct {
	Err error // never nil
}

// MarshalJSON has the members of the errors of package onceq, of which one is
// "detail": the sentence. Other errors have no other.
func (p Problem) MarshalJSON() ([]byte, error) {
	var (
		invalid   *onceq.InvalidError
		duplicate *onceq.DuplicateError
		uncertain *onceq.UncertainError
	)
	switch {
	case errors.As(p.Err, &uncertain): // its cause may be one of the others
		return jsontext.Encode(uncertain)
	case errors.As(p.Err, &invalid):
		return jsontext.Encode(Words(invalid))
	case errors.As(p.Err, &duplicate):
		return jsontext.Encode(duplicate)
	}
	return jsontext.Encode(struct {
		Detail string `json:"detail"`
	}{p.Err.Error()})
}

// Bulk is what an operator's step did with many jobs.
type Bulk struct {
	Changed    int       `json:"changed"`           // jobs
	DryRun     bool      `json:"dry_run,omitempty"` // nothing was changed: so many would be
	PassedOver int       `json:"passed_over"`       // jobs that match and could not change
	Refused    []Refusal `json:"refused"`           // some of these, with the reason
	More       bool      `json:"more"`              // there are more, beyond Cursor
	Cursor     *string   `json:"cursor"`            // where to go on
}

// Refusal is a job that could not change.
type Refusal struct {
	ID      string  `json:"id"`      // of the job
	Problem Problem `json:"problem"` // why not
}

// Tick is one tick of a schedule.
type Tick struct {
	At jsontext.Time `json:"at"` // when it is
}

// TickAt is a tick.
func TickAt(t time.Time) Tick { return Tick{jsontext.Time(t)} }

// Released is a key that was released by hand.
type Released struct {
	Key onceq.Key `json:"key"` // that was released
	Was string    `json:"was"` // the job that held it
	Now *string   `json:"now"` // the job that holds it now; null: it is free
}

// Copied is what onceq copy did.
type Copied struct {
	Waiting       int      `json:"waiting"`        // jobs that wait for a run
	WaitingThere  int      `json:"waiting_there"`  // … that were there already
	Finished      int      `json:"finished"`       // finished jobs that are kept
	FinishedThere int      `json:"finished_there"` // … that were there already
	Keys          int      `json:"keys"`           // held in both stores, by the same job
	Paused        int      `json:"paused"`         // queues that are paused in both stores
	Refused       []string `json:"refused"`        // a line for each job that was not copied
	Violations    []string `json:"violations"`     // what doctor found, in either store
}

package onceq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// An enqueue whose answer was lost may have happened. Only an answer ends
// that doubt. A later try that fails (the server refuses connections, the
// context has ended, the client is closed) says nothing about the first.

// resends is how often a client repeats an enqueue by itself when its
// answer was lost.
const resends = 3

// untilAnswered sends an enqueue, and sends it again while its answers are
// lost. Its error is uncertain if one of the tries was.
func (c *Client) untilAnswered(ctx context.Context, again bool, send func() error) error {
	err := send()
	if !errors.Is(err, ErrUncertain) {
		return err
	}
	lost := doubt{first: err}
	for try := 0; try < resends && again && errors.Is(err, ErrUncertain); try++ {
		d := 10 << (3 * try) * time.Millisecond
		sleep.For(ctx, d/2+rand.N(d)) // callers that lost the same answer do not come back together
		c.metrics.resent(ctx)
		if err = send(); err == nil {
			return nil
		}
		lost.last = err
	}
	return &lost
}

// doubt is an enqueue without an answer: the try that may have happened,
// and the last one after it.
type doubt struct{ first, last error }

func (d *doubt) Error() string {
	if d.last == nil || d.last.Error() == d.first.Error() {
		return d.first.Error()
	}
	return d.first.Error() + "; then: " + d.last.Error()
}

// Unwrap makes errors.Is and errors.As find both causes.
func (d *doubt) Unwrap() []error {
	if d.last == nil {
		return []error{d.first}
	}
	return []error{d.first, d.last}
}

// stillUncertain is the error of a call that got no answer. If the call
// repeats an uncertain one ([Resend]), that one is as uncertain as before.
func stillUncertain(err error, opts ...[]Option) error {
	if err == nil {
		return nil
	}
	before := resent(opts)
	if before == nil {
		return err
	}
	still := &UncertainError{ID: before.ID, IDs: before.IDs, Items: before.Items, nonce: before.nonce}
	if now, ok := err.(*UncertainError); ok {
		still.Items, err = now.Items, now.cause
	}
	first := before.cause
	if d, ok := first.(*doubt); ok {
		first = d.first
	}
	still.cause = &doubt{first: first, last: err}
	return still
}

// resent is the error in the first Resend of a call, if there is one.
func resent(levels [][]Option) *UncertainError {
	for _, opts := range levels {
		for _, o := range opts {
			if r, ok := o.(resendOption); ok {
				if e, _ := uncertainIn(r.err); e != nil {
					return e
				}
			}
		}
	}
	return nil
}

// uncertainIn finds the *UncertainError of an enqueue in an error of the
// caller's; nil if there is none.
func uncertainIn(from error) (e *UncertainError, err error) {
	defer recovered(&err, "Resend", from, "its Unwrap, Is or As")
	switch {
	case !errors.As(from, &e):
	case e == nil:
		return nil, invalid("Resend", "a nil *UncertainError", "must be an error, or nil itself: a nil pointer in a "+
			"variable of type error is not nil; declare the variable as error")
	case len(e.IDs) > 0:
		return e, nil
	}
	return nil, nil
}

func optionsOf(items []Item) [][]Option {
	all := make([][]Option, len(items))
	for i := range items {
		all[i] = items[i].Options
	}
	return all
}

// uncertainOne is the error of an enqueue without an answer.
func uncertainOne(row *NewRow, cause error) error {
	return &UncertainError{ID: row.ID, IDs: []string{row.ID}, nonce: row.Nonce, cause: cause}
}

// uncertainBatch is the error of a batch in which some items have no
// answer.
func uncertainBatch(rows []NewRow, open []int, cause error) error {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	nonce := rows[0].Nonce
	for i := range rows {
		if !rows[i].token {
			nonce = nonceOf(rows[i].Nonce, i) // that of the call: nonceOf undoes itself
			break
		}
	}
	return &UncertainError{ID: ids[0], IDs: ids, Items: open, nonce: nonce, cause: cause}
}

// ranges writes indexes as "0-199, 400".
func ranges(indexes []int) string {
	text := ""
	for i := 0; i < len(indexes); {
		last := i
		for last+1 < len(indexes) && indexes[last+1] == indexes[last]+1 {
			last++
		}
		if text != "" {
			text += ", "
		}
		if len(text) > 200 {
			return text + "…"
		}
		if text += fmt.Sprint(indexes[i]); last > i {
			text += fmt.Sprintf("-%d", indexes[last])
		}
		i = last + 1
	}
	return text
}

package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/reserved"
	"github.com/onceq/onceq/internal/sleep"
)

// Token is the ID of a claim. It travels with the message, in a header. The
// token "" belongs to a message that is not guarded.
type Token string

// Claim is what a message holds until it was handled.
type Claim struct {
	Token Token     // "" = the message is not guarded
	Key   onceq.Key // that the claim holds
	Text  string    // the readable key
}

// Result is what became of one message of [Guard.SendMany].
type Result struct {
	Claim
	Err error // nil = it was sent
}

// Acquire makes a claim, for a broker that confirms elsewhere what it got. The
// message must be sent and confirmed ([Guard.Confirm]) while the claim is in
// doubt, or released ([Guard.Release]). If another claim holds the key the error
// is an [*onceq.DuplicateError] that names it. A claim of a message that is not
// guarded (onceq.NotUnique) has no token.
//
// Options are those of package onceq, merged over the same four levels. Delay
// is the patience: how long the message may be silent until it counts as lost.
// Retention is how long a claim is kept when its message was handled, so that a
// late copy is known. Queue, RunAt, Priority, MaxAttempts, and OnConflict other
// than Reject are refused.
func (g *Guard) Acquire(ctx context.Context, args onceq.Args, opts ...onceq.Option) (Claim, error) {
	row, err := g.acquire(ctx, args, opts)
	return claimOf(&row), err
}

func (g *Guard) acquire(ctx context.Context, args onceq.Args, opts []onceq.Option) (onceq.NewRow, error) {
	row, receipt, err := acquireOne(ctx, g.client, args, opts)
	if err != nil {
		return onceq.NewRow{}, g.storeDown(ctx, err)
	}
	if j := receipt.Job; j != nil && j.SupersededBy != "" { // it was sent again, and has lapsed meanwhile
		return onceq.NewRow{}, &LapsedError{Token: Token(j.ID), By: j.SupersededBy}
	}
	return row, nil
}

// storeDown is the error of an acquire; nil if the message is sent unguarded.
func (g *Guard) storeDown(ctx context.Context, err error) error {
	var invalid *onceq.InvalidError
	if g.config.OnStoreDown != SendUnguarded || errors.Is(err, onceq.ErrDuplicate) || errors.As(err, &invalid) ||
		errors.Is(err, onceq.ErrClosed) || ctx.Err() != nil {
		return err
	}
	g.metrics.count(ctx, "store_down")
	g.log.ErrorContext(ctx, "guard: the store does not answer, and the message is sent unguarded", "error", err)
	return nil
}

// NotBefore is an option for a message that its broker keeps until t, such as a
// delayed one: its patience begins then.
func NotBefore(t time.Time) onceq.Option { return reserved.NotBefore(t).(onceq.Option) }

func claimOf(row *onceq.NewRow) Claim {
	c := Claim{Token: Token(row.ID)}
	if row.Claim != nil {
		c.Key, c.Text = row.Claim.Key, row.Claim.Text
	}
	return c
}

// Send makes a claim, calls send with its token, and confirms it. If another
// claim holds the key, send is not called and the error is an
// [*onceq.DuplicateError].
//
// An error of send means that nothing was sent: the claim is deleted, and the
// error is returned. If send cannot tell (see [Uncertain]) the claim stays in
// doubt, and the error is an [*onceq.UncertainError]; Send with
// onceq.Resend(err) sends again with the same token, and both copies are one
// run.
//
// The claim is confirmed in the background, moments after Send has returned.
// [Guard.Flush] and [Guard.Close] wait for that.
func (g *Guard) Send(ctx context.Context, args onceq.Args, send func(ctx context.Context, t Token) error,
	opts ...onceq.Option) (Claim, error) {
	row, err := g.acquire(ctx, args, opts)
	if err != nil {
		return Claim{}, err
	}
	errs := g.sendAll(ctx, []*onceq.NewRow{&row}, func(ctx context.Context, ts []Token) []error {
		return []error{send(ctx, ts[0])}
	})
	return claimOf(&row), errs[0]
}

// SendMany is Send of many messages, with one step for all their claims. send
// is called once, with the tokens of those that were acquired, in the order of
// items; [Items] says which they are. It returns an error for each token, or
// nil if all were sent. The results are in the order of items. An error of
// SendMany itself means that nothing was acquired.
func (g *Guard) SendMany(ctx context.Context, items []onceq.Item,
	send func(ctx context.Context, ts []Token) []error) ([]Result, error) {
	rows, receipts, err := acquireMany(ctx, g.client, items)
	if err != nil && receipts == nil {
		if err = g.storeDown(ctx, err); err != nil {
			return nil, err
		}
		rows, receipts = make([]onceq.NewRow, len(items)), make([]onceq.Receipt, len(items))
	}
	results := make([]Result, len(items))
	var at []int
	var sent []*onceq.NewRow
	for i := range rows {
		row, r := &rows[i], receipts[i]
		results[i].Claim = claimOf(row)
		switch {
		case r.Outcome == onceq.Rejected:
			results[i] = Result{Err: &onceq.DuplicateError{Kind: row.Kind, Queue: row.Queue, Conflict: *r.Conflict}}
			continue
		case row.ID != "" && r.Job == nil:
			if e := g.storeDown(ctx, uncertainOf(row, err)); e != nil {
				results[i].Err = e
				continue
			}
			results[i].Claim, *row = Claim{}, onceq.NewRow{}
		}
		at, sent = append(at, i), append(sent, row)
	}
	if len(at) == 0 {
		return results, nil
	}
	for n, err := range g.sendAll(context.WithValue(ctx, itemsKey{}, at), sent, send) {
		results[at[n]].Err = err
	}
	return results, nil
}

type itemsKey struct{}

// Items are, inside the send of [Guard.SendMany], the indexes of the items
// whose tokens it was given.
func Items(ctx context.Context) []int {
	at, _ := ctx.Value(itemsKey{}).([]int)
	return at
}

// sendAll sends messages that were acquired, and settles their claims.
func (g *Guard) sendAll(ctx context.Context, rows []*onceq.NewRow,
	send func(ctx context.Context, ts []Token) []error) []error {
	ts := make([]Token, len(rows))
	for i, row := range rows {
		ts[i] = Token(row.ID)
	}
	returned := false
	defer func() {
		if !returned { // the panic goes on; what was sent is not known
			g.log.ErrorContext(ctx, "guard: a send did not return, and its claims stay in doubt", "claims", ts)
		}
	}()
	sent := send(ctx, ts)
	returned = true
	errs := make([]error, len(rows))
	for i := range errs {
		switch {
		case len(sent) == len(rows):
			errs[i] = sent[i]
		case len(sent) != 0:
			errs[i] = Uncertain(fmt.Errorf("guard: the send returned %d errors for %d tokens", len(sent), len(rows)))
		}
	}
	var failed []string
	for i, row := range rows {
		switch {
		case row.ID == "":
			if errs[i] == nil {
				g.metrics.count(ctx, "sent")
			}
		case errs[i] == nil:
			g.confirmSoon(row)
		case isUncertain(errs[i]):
			errs[i] = uncertainOf(row, errs[i])
		default:
			failed = append(failed, row.ID)
		}
	}
	if len(failed) == 0 {
		return errs
	}
	// The caller may have given up; what was not sent must not block its key.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.callLimit())
	defer cancel()
	if err := g.delete(ctx, failed); err != nil {
		g.log.WarnContext(ctx, "guard: messages could not be sent, and their claims could not be deleted; "+
			"they stay in doubt", "claims", failed, "error", err)
	}
	return errs
}

// delete deletes claims of messages that were not sent.
func (g *Guard) delete(ctx context.Context, ids []string) (err error) {
	for try := range 3 {
		if try > 0 && !sleep.For(ctx, 10*time.Millisecond<<(3*try)) {
			break
		}
		if _, err = g.store.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: ids, States: waiting}); err == nil {
			return nil
		}
	}
	return err
}

var waiting = []onceq.State{onceq.Scheduled, onceq.Available, onceq.Retryable}

// confirm is a claim whose message was sent.
type confirm struct {
	id       string
	patience time.Duration
}

// confirmSoon confirms a claim in the background, again and again until it is
// no longer in doubt anyway.
func (g *Guard) confirmSoon(row *onceq.NewRow) {
	p, _ := patienceOf(&onceq.JobRow{Queue: row.Queue, Meta: metaOf(row.Meta)})
	c := confirm{id: row.ID, patience: p}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		g.log.Warn("guard: a message was sent while the guard was closed, and its claim is not confirmed",
			"claim", c.id)
		return
	}
	g.unsure++
	g.loops.Go(func() {
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.unsure--
			g.lessLocked()
		}()
		ctx, cancel := context.WithTimeout(g.life, g.config.InDoubt)
		defer cancel()
		var err error
		for try := 0; ; try++ {
			if _, err = g.confirms.Do(ctx, c); err == nil || errors.Is(err, onceq.ErrClosed) ||
				!sleep.For(ctx, min(10*time.Millisecond<<min(try, 10), time.Second)) {
				break
			}
		}
		if err != nil {
			g.log.Warn("guard: a message was sent, and its claim could not be confirmed: unless the message is "+
				"handled soon, a duplicate of it may be accepted", "claim", c.id, "error", err)
		}
	})
}

// sendConfirms is one trip of confirms.
func (g *Guard) sendConfirms(ctx context.Context, all []confirm) ([]struct{}, []error) {
	ids := map[time.Duration][]string{}
	for _, c := range all {
		ids[c.patience] = append(ids[c.patience], c.id)
	}
	failed := map[time.Duration]error{}
	for patience, ids := range ids {
		ctx, cancel := context.WithTimeout(ctx, g.callLimit())
		_, failed[patience] = g.store.Change(ctx, onceq.Change{Op: onceq.OpMove, IDs: ids, Delay: patience,
			States: []onceq.State{onceq.Scheduled, onceq.Available}})
		cancel()
	}
	errs := make([]error, len(all))
	for i, c := range all {
		errs[i] = failed[c.patience]
	}
	return make([]struct{}, len(all)), errs
}

// Confirm says that the message of a claim was sent: it is no longer in doubt,
// and its patience begins. A claim that has moved on stays as it is: its message
// is being handled or was, or another claim has its key. That is no error.
func (g *Guard) Confirm(ctx context.Context, t Token) error {
	_, err := g.move(ctx, t)
	return err
}

// Touch says that a message which waits in its broker is there: its patience
// begins anew. [ErrDone] means that it was handled, and a [*LapsedError] that
// another claim has its key, or that the claim is gone.
func (g *Guard) Touch(ctx context.Context, t Token) error {
	j, err := g.move(ctx, t)
	switch {
	case err != nil || t == "":
		return err
	case j == nil:
		return &LapsedError{Token: t}
	case j.SupersededBy != "" && j.State == onceq.Cancelled:
		return &LapsedError{Token: t, By: j.SupersededBy}
	case j.State.Finished():
		return ErrDone
	}
	return nil
}

// move gives a claim that waits its whole patience, and returns its row from
// before; nil if there is none.
func (g *Guard) move(ctx context.Context, t Token) (*onceq.JobRow, error) {
	if t == "" {
		return nil, nil
	}
	jobs, err := g.store.Get(ctx, []string{string(t)})
	if err != nil {
		return nil, fmt.Errorf("guard: claim %s: %w", t, err)
	}
	j := jobs[0]
	if j == nil {
		return nil, nil
	}
	patience, ok := patienceOf(j)
	if !ok || j.Queue != g.queue {
		return nil, notOurs(t)
	}
	if !j.State.Waiting() {
		return j, nil
	}
	rs, err := g.store.Change(ctx, onceq.Change{Op: onceq.OpMove, IDs: []string{j.ID}, Delay: patience,
		States: waiting})
	if err != nil {
		return nil, fmt.Errorf("guard: claim %s: %w", t, err)
	}
	if rs[0].Job != nil && rs[0].Err != nil {
		return rs[0].Job, nil
	}
	return j, nil
}

func notOurs(t Token) error {
	return &onceq.InvalidError{Field: "token", Value: string(t), Rule: "must be that of a claim of this guard"}
}

// Release deletes the claim of a message that will not be handled, and its key
// is free: the message was not sent after all, or is out of its broker. A
// message whose claim was released and that comes all the same runs as
// OnLapsed says. [ErrBusy] means that the message is being handled, and
// [onceq.ErrNotFound] that there is no claim that could be released.
func (g *Guard) Release(ctx context.Context, t Token) error {
	if t == "" {
		return nil
	}
	for range 4 { // each time somebody else was faster
		j, err := g.claimRow(ctx, t)
		switch {
		case err != nil:
			return err
		case j.State == onceq.Running:
			return ErrBusy
		case j.State.Finished():
			return fmt.Errorf("guard: release claim %s, which is %s: %w", t, j.State, onceq.ErrNotFound)
		}
		rs, err := g.store.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{j.ID}, States: waiting})
		switch {
		case err != nil:
			return fmt.Errorf("guard: release claim %s: %w", t, err)
		case rs[0].Err == nil:
			return nil
		}
	}
	return ErrBusy
}

// Replay lets a message that has ended run again: say it before a dead letter
// is sent again under its old token, which would be answered with [ErrDone]
// otherwise. It takes the key again: if another claim holds it by now the
// error is an [*onceq.DuplicateError].
func (g *Guard) Replay(ctx context.Context, t Token) error {
	if t == "" {
		return nil
	}
	j, err := g.claimRow(ctx, t)
	if err != nil {
		return err
	}
	if j.State.Finished() {
		rs, err := g.store.Change(ctx, onceq.Change{Op: onceq.OpRetry, IDs: []string{j.ID}, States: ended})
		if err == nil && !errors.Is(rs[0].Err, onceq.ErrNotFound) { // else somebody else has just replayed it
			err = rs[0].Err
		}
		if err != nil {
			return fmt.Errorf("guard: replay claim %s: %w", t, err)
		}
	}
	return g.Touch(ctx, t)
}

var ended = []onceq.State{onceq.Completed, onceq.Discarded, onceq.Cancelled}

// claimRow reads the row of a claim.
func (g *Guard) claimRow(ctx context.Context, t Token) (*onceq.JobRow, error) {
	jobs, err := g.store.Get(ctx, []string{string(t)})
	switch {
	case err != nil:
		return nil, fmt.Errorf("guard: claim %s: %w", t, err)
	case jobs[0] == nil:
		return nil, fmt.Errorf("guard: claim %s: %w", t, onceq.ErrNotFound)
	case jobs[0].Queue != g.queue:
		return nil, notOurs(t)
	}
	return jobs[0], nil
}

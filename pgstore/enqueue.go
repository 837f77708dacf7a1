package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// errBusy is the answer under NoWait if an open transaction is in the way.
// It comes within some tens of milliseconds, for all rows, and nothing has
// happened.
var errBusy = errors.New("somebody's transaction has a key that was asked for")

// Enqueue accepts rows in one step: all or none of them.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows, waits := r.Rows, !r.NoWait
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("enqueue", err)
	}
	defer leave()
	if len(rows) == 0 {
		return nil, nil
	}
	if r.NoWait {
		ctx = hurried{ctx}
	}
	b := newBatch(rows)
	if b.plain {
		err = s.insert(ctx, b)
	}
	if err == nil && len(b.open) > 0 {
		err = s.act(ctx, b, waits)
	}
	if err != nil {
		return nil, s.wrap(fmt.Sprintf("enqueue %d", len(rows)), err)
	}
	s.recent.note(b)
	s.waker.tell(b.filled, b.halted...)
	return b.results, nil
}

// recent remembers whether enqueues met jobs lately: then it pays to look
// first.
type recent struct{ met atomic.Int64 } // the share of rows that did, in 1/1024

func (r *recent) note(b *batch) {
	met := 0
	for i := range b.results {
		if b.results[i].Conflict != nil {
			met++
		}
	}
	old := r.met.Load()
	r.met.Store(old + (int64(met*1024/len(b.results))-old)/4)
}

func (r *recent) mostly() bool { return r.met.Load() > 512 }

// insert tries the common path. Rows that it leaves open are for act:
// nothing has happened to them.
func (s *Store) insert(ctx context.Context, b *batch) error {
	if s.recent.mostly() {
		if !slices.ContainsFunc(b.open, func(i int) bool { return !b.rows[i].Reactions.Writes() }) {
			return nil // most of them write to a holder, and only act does that
		}
		if err := s.lookUp(ctx, b); err != nil || len(b.open) == 0 || b.writes {
			return err
		}
	}
	a := b.arrays(b.open)
	var now int64
	var answered []int
	sql, args := s.sql.insert, append(a.all(), b.byKey(), b.made())
	if len(b.open) == 1 {
		sql, args = s.sql.insertOne, a.first()
	}
	args = append([]any{strconv.Itoa(patience)}, args...)
	err := s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		answered = answered[:0]
		err := s.query(ctx, sql, func(r *record) {
			var i int
			if i, now = b.answer(r); i >= 0 {
				answered = append(answered, i)
			}
		}, args...)
		if err != nil && fateOf(err) == clash {
			return nil // now is still 0
		}
		return err
	})
	if err != nil || now == 0 {
		return err
	}
	for _, i := range answered {
		b.done[i] = true
	}
	for _, i := range b.open {
		if !b.done[i] {
			b.results[i] = b.inserted(i, now)
			b.done[i] = true
		}
	}
	b.open = b.open[:0]
	return nil
}

// lookUp answers the rows that meet a job and do not write to it.
func (s *Store) lookUp(ctx context.Context, b *batch) error {
	var args []any
	sql, answer := s.sql.look, b.judge
	if ids, keys := b.claimed(b.open); keys != nil {
		args = []any{ids, keys}
	} else {
		a := b.arrays(b.open)
		which := make([]int32, len(b.open))
		for n := range which {
			which[n] = int32(n + 1)
		}
		sql, answer = s.sql.lookup, b.answer
		args = []any{which, a.ids, a.nonces, a.kinds, a.keys, a.nums}
	}
	err := s.retry(ctx, reading, func(ctx context.Context) error {
		for _, i := range b.open {
			b.done[i] = false
		}
		return s.query(ctx, sql, func(r *record) {
			if i, _ := answer(r); i >= 0 {
				b.done[i] = true
			}
		}, args...)
	})
	if err != nil {
		return err
	}
	b.open = slices.DeleteFunc(b.open, func(i int) bool { return b.done[i] })
	if len(args) > 2 { // lookup does not say that a row it leaves open has met a job
		b.writes = slices.ContainsFunc(b.open, func(i int) bool { return b.rows[i].Reactions.Writes() })
	}
	return nil
}

// act takes the careful path. A call that waits holds nothing: no locks,
// and for most of the time no connection.
func (s *Store) act(ctx context.Context, b *batch, waits bool) error {
	b.together()
	a := b.arrays(b.open)
	for n := 0; ; n++ {
		wait := patience
		if n > 0 {
			select {
			case s.waiting <- struct{}{}:
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			case <-s.open.Done():
				return onceq.ErrClosed
			}
			wait = waitingPatience
		}
		if deadline, ok := ctx.Deadline(); ok { // so that the answer comes in time and is certain
			left := time.Until(deadline)
			if n > 0 && left < 2*patience*time.Millisecond {
				<-s.waiting
				<-ctx.Done()
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			}
			wait = max(1, min(wait, int(left.Milliseconds()/2)))
		}
		blocked := false
		err := s.retry(ctx, atMostOnce, func(ctx context.Context) error {
			err := s.query(ctx, s.sql.act, func(r *record) { b.note(r) },
				append(append([]any{wait}, a.all()...), nil, "")...)
			if err != nil && fateOf(err) == clash {
				blocked = true
				return nil
			}
			return err
		})
		if n > 0 {
			<-s.waiting
		}
		switch {
		case err != nil:
			return err
		case !blocked:
			return b.settle()
		case !waits:
			return errBusy
		}
		if s.pause(ctx, backoff(n)) != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), errBusy)
			}
			return onceq.ErrClosed
		}
	}
}

// batch is one call of Enqueue that is under way.
type batch struct {
	rows    []onceq.NewRow
	results []onceq.EnqueueResult
	done    []bool
	open    []int // rows without an answer, in the order in which to send them
	// plain: the common path will do. No key or ID occurs twice, every claim
	// holds for some time, and the rows are not asGiven.
	plain bool
	// asGiven: the order of the rows matters. Some row writes to the holder of
	// its key, and another may meet that holder by its ID.
	asGiven bool
	// writes: a look met a holder that a row writes to, and only act does that.
	writes bool
	claims int
	filled map[work]bool // where jobs may be due
	halted []string      // workers that have a run to stop

	sent  []int // what open was at the last call of arrays
	last  int   // the try of the answers in noted
	noted []noted
}

// noted is an answer of act. Only those of its last try count.
type noted struct {
	try, row int
	result   onceq.EnqueueResult
}

func newBatch(rows []onceq.NewRow) *batch {
	b := &batch{rows: rows, results: make([]onceq.EnqueueResult, len(rows)), done: make([]bool, len(rows)),
		open: indexes(len(rows)), plain: true}
	if len(rows) == 1 {
		b.plain = !fleeting(rows[0].Claim, &rows[0])
		return b
	}
	keys, ids := make(map[onceq.Key]struct{}, len(rows)), make(map[string]struct{}, len(rows))
	for i := range rows {
		r := &rows[i]
		ids[r.ID] = struct{}{}
		if r.Claim != nil {
			keys[r.Claim.Key] = struct{}{}
		}
		if len(ids) <= i || r.Claim != nil && len(keys) <= b.claims || fleeting(r.Claim, r) {
			b.plain = false
			break
		}
		if r.Claim != nil {
			b.claims++
		}
	}
	named := slices.ContainsFunc(rows, func(r onceq.NewRow) bool { return !r.Made() })
	b.asGiven = named && slices.ContainsFunc(rows, func(r onceq.NewRow) bool {
		return r.Claim != nil && r.Reactions.Writes()
	})
	b.plain = b.plain && !b.asGiven
	if b.plain {
		// mostly they are in order
		slices.SortFunc(b.open, func(x, y int) int { return cmp.Compare(rows[x].ID, rows[y].ID) })
	}
	return b
}

// byKey returns the rows that were sent and have a key, in the order of the
// keys, counted from 1.
func (b *batch) byKey() []int32 {
	all := make([]int32, 0, len(b.sent))
	for at, i := range b.sent {
		if b.rows[i].Claim != nil {
			all = append(all, int32(at+1))
		}
	}
	slices.SortFunc(all, func(x, y int32) int {
		return bytes.Compare(b.rows[b.sent[x-1]].Claim.Key[:], b.rows[b.sent[y-1]].Claim.Key[:])
	})
	return all
}

// made reports whether all rows that were sent have new IDs.
func (b *batch) made() bool {
	return !slices.ContainsFunc(b.sent, func(i int) bool { return !b.rows[i].Made() })
}

// claimed returns the IDs and the keys of rows that are about to be sent;
// nil unless all have a key and an ID made by a client.
func (b *batch) claimed(which []int) (ids []string, keys [][]byte) {
	ids, keys = make([]string, len(which)), make([][]byte, len(which))
	for at, i := range which {
		r := &b.rows[i]
		if r.Claim == nil || !r.Made() {
			return nil, nil
		}
		ids[at], keys[at] = r.ID, r.Claim.Key[:]
	}
	b.sent = slices.Clone(which)
	return ids, keys
}

// together puts the open rows in the order of their keys, so that two calls
// never wait for each other. Rows with the same key or ID stay side by
// side, in the order given. Rows whose order matters stay as they were
// given: then two calls may wait for each other, and the first whose
// patience ends releases everything.
func (b *batch) together() {
	rows := b.rows
	slices.Sort(b.open)
	if b.asGiven {
		return
	}
	keys, ids := make(map[onceq.Key]int, len(rows)), make(map[string]int, len(rows))
	leader := indexes(len(rows)) // the first of the rows that belong together, maybe by way of others
	first := func(i int) int {
		for leader[i] != i {
			i = leader[i]
		}
		return i
	}
	join := func(i, earlier int) {
		x, y := first(i), first(earlier)
		leader[max(x, y)] = min(x, y)
	}
	for _, i := range b.open {
		if earlier, ok := ids[rows[i].ID]; ok {
			join(i, earlier)
		}
		ids[rows[i].ID] = i
		if c := rows[i].Claim; c != nil {
			if earlier, ok := keys[c.Key]; ok {
				join(i, earlier)
			}
			keys[c.Key] = i
		}
	}
	slices.SortStableFunc(b.open, func(x, y int) int {
		x, y = first(x), first(y)
		p, q := rows[x].Claim, rows[y].Claim
		switch {
		case x == y:
			return 0
		case p == nil && q != nil:
			return -1
		case p != nil && q == nil:
			return 1
		case p != nil && p.Key != q.Key:
			return bytes.Compare(p.Key[:], q.Key[:])
		}
		return cmp.Compare(rows[x].ID, rows[y].ID)
	})
}

// fleeting reports whether a claim may hold for no time.
func fleeting(c *onceq.Claim, r *onceq.NewRow) bool {
	return c != nil && c.Hold.Until == onceq.UntilDue && (r.Delay < time.Millisecond || !r.RunAt.IsZero())
}

// arrays are rows as parallel arrays, see schema/functions/enqueue.sql. A
// missing value is empty there, and never NULL: with array_nulls = off a
// server reads that as four letters.
type arrays struct {
	ids     []string
	nonces  [][]byte
	kinds   []string
	queues  []string
	args    [][]byte
	metas   []string
	tags    []string
	keys    [][]byte
	texts   []string
	digests [][]byte
	nums    []int64
}

func (a *arrays) all() []any {
	return []any{a.ids, a.nonces, a.kinds, a.queues, a.args, a.metas, a.tags, a.keys, a.texts, a.digests, a.nums}
}

// first is the first row.
func (a *arrays) first() []any {
	return []any{a.ids[0], a.nonces[0], a.kinds[0], a.queues[0], a.args[0], at(a.metas), at(a.tags), at(a.keys),
		at(a.texts), at(a.digests), a.nums}
}

// at is the first element, if there is one.
func at[T any](s []T) any {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

func (b *batch) arrays(which []int) *arrays {
	n := len(which)
	a := &arrays{
		ids: make([]string, n), nonces: make([][]byte, n), kinds: make([]string, n), queues: make([]string, n),
		args: make([][]byte, n),
		nums: make([]int64, 0, n*len(numbers)),
	}
	b.sent = slices.Clone(which)
	for at, i := range which {
		r := &b.rows[i]
		a.ids[at], a.nonces[at], a.kinds[at], a.queues[at] = r.ID, r.Nonce[:], r.Kind, r.Queue
		a.args[at] = r.Args
		if r.Args == nil {
			a.args[at] = []byte{}
		}
		if r.Meta != nil {
			if a.metas == nil {
				a.metas = make([]string, n)
			}
			a.metas[at] = string(r.Meta)
		}
		if len(r.Tags)+len(r.Extra) > 0 {
			if a.tags == nil {
				a.tags = make([]string, n)
			}
			a.tags[at] = encodeTags(r)
		}
		var hold onceq.Hold
		if r.Claim != nil {
			if a.keys == nil {
				a.keys, a.texts, a.digests = empties(n), make([]string, n), empties(n)
			}
			a.keys[at], a.texts[at], a.digests[at] = r.Claim.Key[:], shortText(r), r.Claim.Digest[:]
			hold = r.Claim.Hold
		}
		var named int64
		if !r.RunAt.IsZero() {
			named = max(1, r.RunAt.UnixMilli())
		}
		re := r.Reactions
		a.nums = append(a.nums, int64(r.Priority), int64(r.MaxAttempts), r.Timeout.Milliseconds(),
			r.Retention.Milliseconds(), r.Delay.Milliseconds(), named,
			flag(r.Encoding == onceq.EncodingBytes), int64(hold.Until), hold.Window.Milliseconds(),
			hold.TTL.Milliseconds(), flag(hold.FromEnqueue),
			int64(re.Scheduled)|int64(re.Available)<<3|int64(re.Retryable)<<6|int64(re.Running)<<9|int64(re.Ended)<<12,
			int64(r.Write), r.MaxWait.Milliseconds())
	}
	return a
}

func empties(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte{}
	}
	return all
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

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

// judge reads a found_v1 and answers its row from it, unless the row writes
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
	left, job := r.json(), r.job(now)
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
		Origin: onceq.Inserted, Extra: bytes.Clone(r.Extra),
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

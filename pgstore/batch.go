package pgstore

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

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

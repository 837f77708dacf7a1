package redisstore

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/dedup"
)

// The modes of a row, as enqueue.lua describes them.
const (
	modePlain    = 0 // due now; the key is held until an event; the policy never writes to a holder
	modeWrites   = 1 // its policy may write to the holder
	modeHard     = 2 // it must be judged together with other rows of its share
	modeFollower = 3 // it has the same key as an earlier row
	modeClocks   = 4 // added to the first two: it has a delay, or its key has a Window or TTL
)

// planSize is the size of a plan in bytes: what enqueue.lua needs to know
// of a row.
const planSize = 44

// share is the part of a batch that one script call takes.
type share struct {
	trip
	rows   []int // their indexes in the batch
	leader []int // the row that a follower follows
	made   *scratch
}

// scratch has the memory for the arguments of a share. It serves one share
// after another.
type scratch struct {
	mode        []byte
	leader      []int
	plans, rows []byte
	ends        []int
	columns     []column
	planned     column // the plans, as an argument
	args        []any
	queues      []string
	profiles    []*spelled
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// column is an argument that needs no memory of its own: given a pointer to
// it, the client library writes what it holds.
type column []byte

func (c *column) MarshalBinary() ([]byte, error) { return *c, nil }

// sized returns n zero elements, in the memory of s if that suffices.
func sized[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// noClocks reports whether a row is due now and its key is held until an
// event only.
func noClocks(r *onceq.NewRow) bool {
	if r.Delay != 0 || !r.RunAt.IsZero() {
		return false
	}
	if r.Claim == nil {
		return true
	}
	h := &r.Claim.Hold
	return h.Until != onceq.UntilDue && h.Until != onceq.UntilWindowEnds && h.TTL == 0
}

// share makes the arguments of a script call. alone says that no row
// follows another.
func (s *Store) share(part int, rows []onceq.NewRow, places []int, alone bool) *share {
	sh := &share{trip: trip{script: luaEnqueue, part: part}, rows: places}
	n := len(places)
	made := scratches.Get().(*scratch)
	mode, leader := sized(made.mode, n), sized(made.leader, n)
	modes(rows, places, mode, leader, alone)

	plans := sized(made.plans, n*planSize)[:0]
	buf, ends := made.rows[:0], append(made.ends[:0], 0) // the ID, the key and the rest of each row, and where they end
	queues, profiles := made.queues[:0], made.profiles[:0]
	q, p := -1, -1 // those of the previous row
	var room [128]byte
	content := room[:0]
	keyed := "0"
	for k, i := range places {
		r := &rows[i]
		buf = appendID(buf, r.ID)
		if mode[k] == modeFollower {
			ends = append(ends, len(buf), len(buf), len(buf))
			plans = append(plans, 0, 0, modeFollower, 1, 1, byte((leader[k]+1)>>8), byte(leader[k]+1))
			plans = plans[:(k+1)*planSize]
			continue
		}
		if q < 0 || queues[q] != r.Queue {
			if q = slices.Index(queues, r.Queue); q < 0 {
				q = len(queues)
				queues = append(queues, r.Queue)
			}
		}
		content = appendProfile(content[:0], r)
		if p < 0 || profiles[p].text != string(content) {
			p = slices.IndexFunc(profiles, func(c *spelled) bool { return c.text == string(content) })
			if p < 0 {
				p = len(profiles)
				profiles = append(profiles, s.spelling.profile(content))
			}
		}
		plans = appendPlan(plans, r, mode[k], q+1, p+1)
		ends = append(ends, len(buf))
		if r.Claim != nil {
			keyed = "1"
			buf = append(buf, r.Claim.Key[:]...)
		}
		ends = append(ends, len(buf))
		var cover int
		buf, cover = appendRest(buf, r, profiles[p].ref)
		plans = append(plans, byte(cover>>16), byte(cover>>8), byte(cover))
		ends = append(ends, len(buf))
	}
	columns := sized(made.columns, 3*n)
	made.planned = plans
	if alike(rows, places, plans) {
		made.planned = plans[:planSize]
	}
	args := append(sized(made.args, head), len(queues), len(profiles), n, byID(rows, places), keyed, &made.planned)
	for _, name := range queues {
		args = append(args, s.spelling.queue(name))
	}
	for part := range 3 {
		for _, c := range profiles {
			args = append(args, c.args[part])
		}
	}
	for c := range 3 {
		for k := range n {
			column := &columns[c*n+k]
			*column = buf[ends[3*k+c]:ends[3*k+c+1]]
			args = append(args, column)
		}
	}
	sh.size = len(buf)
	made.mode, made.leader, made.plans, made.rows, made.ends = mode, leader, plans, buf, ends
	made.columns, made.args, made.queues, made.profiles = columns, args, queues, profiles
	sh.whole, sh.args, sh.leader, sh.made = args, args[head:], leader, made
	return sh
}

// alike reports whether rows have the same plan, and IDs that clients made.
func alike(rows []onceq.NewRow, places []int, plans []byte) bool {
	for k, i := range places {
		if !made(rows[i].ID) || string(plans[k*planSize:(k+1)*planSize]) != string(plans[:planSize]) {
			return false
		}
	}
	return true
}

// appendPlan adds the plan of a row, up to the size of its cover. queue and
// profile are their numbers, from 1.
func appendPlan(b []byte, r *onceq.NewRow, mode byte, queue, profile int) []byte {
	first, second := byte(stScheduled), byte(r.Priority)|headNow
	var h onceq.Hold
	if r.Claim != nil {
		first |= headKey
		h = r.Claim.Hold
	}
	if r.Made() {
		second |= headMade
	}
	b = append(b, first, second, mode, byte(queue), byte(profile), 0, 0)
	if r.RunAt.IsZero() {
		b = putMilli(append(b, 0), r.Delay)
	} else {
		b = put48(append(b, 1), min(max(r.RunAt.UnixMilli(), 0), never-1))
	}
	re := &r.Reactions
	b = append(b, byte(re.Scheduled), byte(re.Available), byte(re.Retryable), byte(re.Running),
		byte(re.Ended), byte(r.Write))
	b = append(putMilli(b, r.MaxWait), 0)
	fromEnqueue := byte(0)
	if h.FromEnqueue {
		fromEnqueue = 1
	}
	return putMilli(putMilli(append(b, byte(h.Until), fromEnqueue), h.Window), h.TTL)
}

// done gives back the memory of the arguments.
func (sh *share) done() {
	clear(sh.made.args)
	clear(sh.made.queues)
	clear(sh.made.profiles)
	scratches.Put(sh.made)
	sh.whole, sh.args, sh.leader, sh.made = nil, nil, nil, nil
}

// byID has the indexes of the rows (from 1, 2 bytes each) in the order of
// their IDs; "" if they are in that order already.
func byID(rows []onceq.NewRow, places []int) string {
	if slices.IsSortedFunc(places, func(a, b int) int { return strings.Compare(rows[a].ID, rows[b].ID) }) {
		return ""
	}
	order := make([]int, len(places))
	for k := range order {
		order[k] = k
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(rows[places[a]].ID, rows[places[b]].ID) })
	text := make([]byte, 0, 2*len(order))
	for _, k := range order {
		text = binary.BigEndian.AppendUint16(text, uint16(k+1))
	}
	return string(text)
}

// leads reports whether other rows can follow this one: once inserted it
// holds its key for a while, and it never writes to a holder.
func leads(r *onceq.NewRow, mode byte) bool {
	return (mode == modePlain || mode == modePlain+modeClocks) && r.Claim.Hold.Until != onceq.UntilDue
}

// hashID hashes the last characters of an ID, which are random in IDs that
// clients make.
func hashID(id string) (h uint32) {
	for _, c := range []byte(id[max(0, len(id)-8):]) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	return h
}

// modes finds the simplest mode for each row of a share. Rows with the same
// ID, and rows with the same key as a row that writes, are judged one after
// another. Other rows with the same key follow the first of them.
func modes(rows []onceq.NewRow, places []int, mode []byte, leader []int, alone bool) {
	for k, i := range places {
		r := &rows[i]
		if r.Reactions.Writes() {
			mode[k] = modeWrites
		}
		if !noClocks(r) {
			mode[k] += modeClocks
		}
	}
	if len(places) == 1 {
		return
	}
	var hard map[onceq.Key]bool
	harden := func(k int) {
		r := &rows[places[k]]
		mode[k] = modeHard
		if r.Claim != nil {
			if hard == nil {
				hard = map[onceq.Key]bool{}
			}
			hard[r.Claim.Key] = true
		}
	}
	ids, keys := dedup.New(len(places)), dedup.New(len(places))
	for k, i := range places {
		r := &rows[i]
		if first := ids.Find(hashID(r.ID), k, func(n int) bool { return rows[places[n]].ID == r.ID }); first != k {
			harden(k)
			harden(first)
		}
		if r.Claim == nil {
			continue
		}
		key := &r.Claim.Key
		first := keys.Find(binary.LittleEndian.Uint32(key[:]), k, func(n int) bool {
			return rows[places[n]].Claim.Key == *key
		})
		switch {
		case first == k:
		case leads(&rows[places[first]], mode[first]) && !r.Reactions.Writes() && !alone:
			mode[k], leader[k] = modeFollower, first
		default:
			harden(k)
			harden(first)
		}
	}
	if hard == nil {
		return
	}
	for k, i := range places {
		if c := rows[i].Claim; c != nil && hard[c.Key] {
			mode[k] = modeHard
		}
	}
}

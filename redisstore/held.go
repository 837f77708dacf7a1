package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// A duplicate that writes nothing needs no script. Where it is remembered
// who holds its key, plain reads find out whether that is still so, and cost
// the server a tenth of the script:
//
//	MULTI; the row of the key; the fields of the holder, and the row of the
//	newcomer's own ID; the form and the clock; TIME; PING token; EXEC
//
// All of it is read at one instant, that of EXEC. If the key names the
// remembered job at that instant, that job held it, and what was read of it
// is the answer that the script would give. The own ID must not be there: a
// call that is sent again may be the holder itself, or a job that has ended.
// The token proves that the answer belongs to this request. Whatever else is
// found, or fails, goes to the script, as if nothing had been read: a memory
// that is wrong costs a round trip and decides nothing.

// memories is how many keys are remembered at most.
const memories = 1 << 13

// ways is in how many slots a key may be.
const ways = 8

// trust bounds how far one kind of key can outweigh the others.
const trust = 64

// memory is who held a key lately: a job whose ID a client made.
type memory struct {
	key    onceq.Key
	holder [packedSize]byte
}

// holders remembers who held which key.
type holders struct {
	// Four bytes of the key in each slot, 0 = none: those of other keys are
	// passed over without a look at them.
	tags  [memories]atomic.Uint32
	slots [memories]atomic.Pointer[memory]
	// How often memories were right lately, less how often they were wrong.
	// Below zero no call relies on them, but each answer still judges them.
	score atomic.Int32
	may   atomic.Int32 // whether the server allows such reads: 0 = not known yet, 1 = yes, -1 = no
}

// tag is what tells a key from most others.
func tag(k *onceq.Key) uint32 { return binary.LittleEndian.Uint32(k[4:]) | 1 }

// find returns who held a key lately, nil = it is not remembered; and in which
// slot that is, or the slot to remember it in: one of ways slots of its own
// place, so that few keys push each other out. (The rows of a batch that are
// not remembered cost it a second trip.)
func (h *holders) find(k *onceq.Key) (slot int, m *memory) {
	place := (int(k[0])<<8 | int(k[1])) * ways % memories
	slot = place + int(k[2])%ways
	for n := place; n < place+ways; n++ {
		switch h.tags[n].Load() {
		case 0:
			slot = n
		case tag(k):
			if m := h.slots[n].Load(); m != nil && m.key == *k {
				return n, m
			}
		}
	}
	return slot, nil
}

// distrust makes the next calls do without memories for a while.
func (h *holders) distrust() { h.score.Store(-trust) }

// judge counts a memory that was right, or wrong.
func (h *holders) judge(right bool) {
	switch n := h.score.Load(); {
	case right && n < trust:
		h.score.Store(n + 1)
	case !right && n > -trust:
		h.score.Store(n - 1)
	}
}

// forget drops a memory that was wrong.
func (h *holders) forget(m *memory) {
	if slot, found := h.find(&m.key); found == m && h.slots[slot].CompareAndSwap(m, nil) {
		h.tags[slot].Store(0)
	}
	h.judge(false)
}

// note remembers who holds a key now that a script has answered: the job of the
// row, or the one that it met.
func (h *holders) note(k *onceq.Key, holder []byte) {
	slot, m := h.find(k)
	if m != nil {
		right := string(m.holder[:]) == string(holder)
		if h.judge(right); right {
			return
		}
	}
	if len(holder) == packedSize {
		m := &memory{key: *k}
		copy(m.holder[:], holder)
		h.slots[slot].Store(m)
		h.tags[slot].Store(tag(k))
	}
}

// look is what plain reads ask of one partition, and the memory for it. It
// serves one call after another.
type look struct {
	part                    int
	rows                    []int // their indexes in the batch
	memories                []*memory
	names                   []byte
	fields                  []column // pieces of names
	keys, jobs, about, ping []any    // arguments of commands
	token                   token
	sent                    column // the token, as an argument
	cmds                    [7]redis.Cmder
	exec                    *redis.Cmd
}

var looks = sync.Pool{New: func() any {
	ctx, l := context.Background(), new(look)
	l.sent = l.token[:]
	l.about, l.ping = []any{"hmget", nil, "v", "clock"}, []any{"ping", &l.sent}
	l.cmds = [7]redis.Cmder{redis.NewCmd(ctx, "multi"), nil, nil, redis.NewCmd(ctx, l.about...),
		redis.NewCmd(ctx, "time"), redis.NewCmd(ctx, l.ping...), nil}
	return l
}}

// done gives back the memory of a look.
func (l *look) done() {
	clear(l.memories)
	l.cmds[1], l.cmds[2], l.cmds[6], l.exec = nil, nil, nil, nil
	looks.Put(l)
}

// ask makes the commands.
func (l *look) ask(ctx context.Context, p *partition, rows []onceq.NewRow) []redis.Cmder {
	n := len(l.rows)
	l.names, l.fields = l.names[:0], sized(l.fields, 5*n)
	for k, i := range l.rows {
		l.names = append(append(l.names, 0, 0), l.memories[k].holder[:]...)
		l.names = appendID(l.names, rows[i].ID)
	}
	l.keys, l.jobs = append(l.keys[:0], "hmget", p.args[1]), append(l.jobs[:0], "hmget", p.args[0])
	names := l.names
	for k, i := range l.rows {
		f, ends := l.fields[5*k:5*k+5], 2+packedSize
		own := ends + idSize(rows[i].ID)
		f[0], f[1], f[2], f[3], f[4] = rows[i].Claim.Key[:], names[2:ends], names[1:ends], names[:ends], names[ends:own]
		l.keys, l.jobs = append(l.keys, &f[0]), append(l.jobs, &f[1], &f[2], &f[3], &f[4])
		names = names[own:]
	}
	l.about[1], l.token = p.args[3], newToken()
	l.exec = redis.NewCmd(ctx, "exec")
	l.cmds[1], l.cmds[2], l.cmds[6] = redis.NewCmd(ctx, l.keys...), redis.NewCmd(ctx, l.jobs...), l.exec
	return l.cmds[:]
}

// answerHeld answers by plain reads what it can of a batch. It returns how
// many rows that were; they have their results.
func (s *Store) answerHeld(ctx context.Context, rows []onceq.NewRow, byPart [][]int,
	results []onceq.EnqueueResult) (answered int) {
	h := &s.holders
	if h.may.Load() < 0 || h.score.Load() < 0 || len(rows) > perScript || s.acks() {
		return 0 // with acks a duplicate, too, waits until its holder will last
	}
	var room [1]*look
	all, known := room[:0], 0
	defer func() {
		for _, l := range all {
			l.done()
		}
	}()
	for p, places := range byPart {
		var l *look
		for _, i := range places {
			r := &rows[i]
			if len(rows) > 1 && (!r.Made() || r.Reactions.Writes()) {
				return 0 // what becomes of the others may depend on it
			}
			if r.Claim == nil || r.Reactions.Writes() || isLarge(r) {
				continue
			}
			_, m := h.find(&r.Claim.Key)
			if m == nil {
				continue
			}
			if l == nil {
				l = looks.Get().(*look)
				l.part, l.rows, l.memories = p, l.rows[:0], l.memories[:0]
				all = append(all, l)
			}
			known++
			l.rows, l.memories = append(l.rows, i), append(l.memories, m)
		}
	}
	// The rows that are not remembered wait for the others: that pays only
	// where they are few.
	if known*2 < len(rows) || known == 0 {
		return 0
	}
	node := redis.Cmdable(s.conns.usual)
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		if len(all) > 1 {
			return 0
		}
		master, err := cluster.MasterForKey(ctx, s.parts[all[0].part].meta())
		if err != nil {
			return 0
		}
		node = master
	}
	if h.may.Load() == 0 && !s.mayExec(ctx) {
		return 0
	}
	pipe := node.Pipeline()
	for _, l := range all {
		_ = pipe.BatchProcess(ctx, l.ask(ctx, s.parts[l.part], rows)...)
	}
	_, _ = pipe.Exec(ctx)
	for _, l := range all {
		answered += s.seen(ctx, rows, l, results)
	}
	return answered
}

// mayExec finds out, once, whether the user may use MULTI and EXEC, which
// nothing else needs. It tries EXEC first: a connection that is in a MULTI
// which it cannot end would be lost.
func (s *Store) mayExec(ctx context.Context) bool {
	err := s.conns.usual.Do(ctx, "exec").Err()
	var said redis.Error
	switch {
	case isExecAlone(err):
		s.holders.may.Store(1)
		return true
	case errors.As(err, &said) && !passes(err):
		s.holders.may.Store(-1)
	default:
		s.holders.distrust()
	}
	return false
}

// isExecAlone reports whether an error is the answer to an EXEC before which
// there was no MULTI.
func isExecAlone(err error) bool { return redis.HasErrorPrefix(err, "EXEC without MULTI") }

// seen reads what a partition has answered.
func (s *Store) seen(ctx context.Context, rows []onceq.NewRow, l *look,
	results []onceq.EnqueueResult) (answered int) {
	h := &s.holders
	got, err := l.exec.Slice()
	if err != nil || len(got) != 5 || !l.token.is(got[4]) {
		if h.distrust(); isExecAlone(err) { // MULTI was refused
			h.may.Store(-1)
		}
		return 0
	}
	keys, jobs, about, at := list(got[0]), list(got[1]), list(got[2]), list(got[3])
	if len(keys) != len(l.rows) || len(jobs) != 4*len(l.rows) || len(about) != 2 || len(at) != 2 {
		return 0
	}
	form := text(about[0])
	if form != formOld && formOf(form) != formNew {
		return 0
	}
	read := &trip{part: l.part, gen: form[1:]}
	if clock := text(about[1]); clock != "" {
		read.now = number64(clock)
	} else {
		read.now = number64(text(at[0]))*1000 + number64(text(at[1]))/1000
	}
	profiles := s.profilesOf(ctx, read)
	for n, i := range l.rows {
		r, m := &rows[i], l.memories[n]
		row, job := text(keys[n]), jobs[4*n:4*n+4]
		if !holdsStill(row, m.holder[:], read.now) || job[0] == nil || job[3] != nil {
			h.forget(m)
			continue
		}
		outcome := onceq.Skipped
		if r.Reactions.Refuses() {
			outcome = onceq.Rejected
		}
		found := [4]any{keys[n], job[0], job[1], job[2]}
		all := found[:]
		if job[1] == nil {
			all = found[:2]
		}
		if err := skipped(r, outcome, read.now, all, profiles, &results[i]); err != nil {
			results[i] = onceq.EnqueueResult{}
			continue
		}
		h.judge(true)
		answered++
	}
	return answered
}

// holdsStill reports whether the row of a key says that this job holds it
// now and nobody waits behind it. enqueue.lua has the same rule.
func holdsStill(row string, holder []byte, now int64) bool {
	if row == "" || row[0] != 0 {
		return row == string(holder)
	}
	r := reader{s: row[1:]}
	form := r.num(1)
	r.num(1)
	frees := r.instant()
	r.num(6)
	return form == 1 && now < frees && r.name() == string(holder) && r.name() == "" && !r.bad
}

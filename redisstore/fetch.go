package redisstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// Fetch starts due jobs. With several partitions, and among very many
// kinds, it first looks which jobs come first of all, and then starts those.
// If another worker takes some in between, the next in that partition take
// their place.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Fetched{}, err
	}
	defer leave()
	f := &fetch{s: s, r: r, bytes: r.MaxBytes}
	wanted := make([]int, len(r.Queues))
	for i, q := range r.Queues {
		wanted[i] = max(q.Slots, 0)
	}
	parts := make([]*fetchPart, len(s.parts))
	for p := range parts {
		parts[p] = &fetchPart{part: p, bytes: r.MaxBytes, walks: walksOf(wanted)}
	}
	if len(parts) > 1 {
		return f.among(ctx, parts, wanted)
	}
	first := parts[0]
	if err := f.run(ctx, parts, false); err != nil && len(f.jobs) == 0 {
		return onceq.Fetched{}, err
	}
	got := f.answer(parts)
	rest := &fetchPart{bytes: first.bytes, given: first.given}
	clear(wanted)
	for _, w := range first.walks {
		if w.next == crowded {
			rest.walks = append(rest.walks, &walk{queue: w.queue, asked: w.slots, slots: w.slots, next: -1})
			wanted[w.queue] = w.slots
		}
	}
	switch {
	case len(rest.walks) == 0: // as nearly always
		return got, nil
	case first.full:
		got.NextDue = 0
		return got, nil
	}
	f.bytes = first.bytes
	more, err := f.among(ctx, []*fetchPart{rest}, wanted)
	if err != nil && len(got.Jobs) == 0 {
		return onceq.Fetched{}, err
	}
	if len(f.jobs) == len(got.Jobs) {
		more.Jobs = got.Jobs
	}
	more.NextDue = sooner(got.NextDue, more.NextDue)
	return more, nil
}

// among looks at all that is due, chooses the jobs that come first of all,
// and starts those.
func (f *fetch) among(ctx context.Context, parts []*fetchPart, wanted []int) (onceq.Fetched, error) {
	err := f.run(ctx, parts, true)
	if err != nil && len(f.found) == 0 {
		return onceq.Fetched{}, err
	}
	looked := f.answer(parts).NextDue
	chosen, more := f.choose(parts, wanted)
	if more {
		looked = 0
	}
	if len(chosen) == 0 {
		return onceq.Fetched{NextDue: looked}, err
	}
	if err := f.run(ctx, chosen, false); err != nil && len(f.jobs) == 0 {
		return onceq.Fetched{}, err
	}
	got := f.answer(chosen)
	got.NextDue = looked
	for _, p := range chosen {
		if p.full || slices.ContainsFunc(p.walks, func(w *walk) bool { return w.asked > 0 && w.slots > 0 }) {
			got.NextDue = 0 // another worker was faster: look again, or what came in its place was too large
		}
	}
	return got, nil
}

// packKinds returns the arguments that name the kinds: how many (-1 = any),
// then the kinds in the order of the index: shorter ones first.
func packKinds(kinds []string) []any {
	if kinds == nil {
		return []any{-1}
	}
	kinds = slices.Clone(kinds)
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	kinds = slices.Compact(kinds)
	args := []any{len(kinds)}
	for _, k := range kinds {
		args = append(args, k)
	}
	return args
}

// fetch is one fetch that is under way.
type fetch struct {
	s     *Store
	r     onceq.FetchRequest
	bytes int // that it may bring; 0 = any
	jobs  []started
	found []candidate

	answered bool // some partition has answered
	soon     bool // repeat it, because some partition has not
}

// started is a job that was started, with the index of its queue in the
// request.
type started struct {
	queue int
	*onceq.JobRow
}

// candidate is a due job that was found but not started yet.
type candidate struct {
	part, queue int
	member      string // its order
	bytes       int    // of args and meta, at most; 0 = not asked for
	kind        string // "" = not told
}

// fetchPart is what a fetch does on one partition.
type fetchPart struct {
	part  int
	bytes int      // bytes that it may still bring; 0 = any
	given bool     // some of them are used
	full  bool     // all of them are used
	many  bool     // so many kinds wait that one look was not enough
	kinds []string // nil = those of the request
	walks []*walk
}

// walk is one queue of one partition, as a fetch goes through it.
type walk struct {
	queue  int // its index in the request
	asked  int // slots
	slots  int // still wanted
	cursor string
	next   int64 // milliseconds until its next job is due; -1 = there is none; or crowded
	done   bool
}

// crowded says, in place of when the next job is due, that very many kinds
// wait and nothing was started.
const crowded = -2

// sooner is the earlier of two times until something is due; a negative one
// means never.
func sooner[T time.Duration | int64](a, b T) T {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

func walksOf(slots []int) []*walk {
	walks := make([]*walk, len(slots))
	for i, n := range slots {
		walks[i] = &walk{queue: i, asked: n, slots: n, next: -1}
	}
	return walks
}

// amongMany is how many jobs of very many kinds one fetch starts: a script
// can still look at as many kinds.
const amongMany = 1000

// choose picks, of the jobs that were found, those that come first of all
// and fit together, and says what each partition is to start. more says
// that others are due. Where very many kinds wait, a partition is asked for
// the kinds of the chosen jobs only.
func (f *fetch) choose(looked []*fetchPart, wanted []int) (chosen []*fetchPart, more bool) {
	slices.SortFunc(f.found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.member, b.member))
	})
	take := make([][]int, len(f.s.parts))
	bytes, kinds := make([]int, len(take)), make([][]string, len(take))
	given := slices.ContainsFunc(looked, func(p *fetchPart) bool { return p.given })
	many := slices.ContainsFunc(looked, func(p *fetchPart) bool { return p.many })
	left, all, n := slices.Clone(wanted), 0, 0
	for _, c := range f.found {
		if left[c.queue] == 0 {
			more = true
			continue
		}
		all += c.bytes
		if many && n == amongMany || f.bytes > 0 && all > f.bytes && (n > 0 || given) {
			more = true
			break
		}
		n++
		if take[c.part] == nil {
			take[c.part] = make([]int, len(wanted))
		}
		left[c.queue]--
		take[c.part][c.queue]++
		bytes[c.part] += c.bytes
		kinds[c.part] = append(kinds[c.part], c.kind)
	}
	for _, from := range looked {
		p := from.part
		slots := take[p]
		if slots == nil {
			continue
		}
		part := &fetchPart{part: p, bytes: bytes[p], given: from.given, walks: walksOf(slots)}
		if from.many && !slices.Contains(kinds[p], "") {
			part.kinds = kinds[p]
		}
		for _, w := range part.walks {
			w.done = w.slots == 0
		}
		chosen = append(chosen, part)
	}
	return chosen, more
}

// soon is when a fetch is repeated that some partition has not answered.
const soon = 20 * time.Millisecond

// overlooks reports whether a fetch may do without the partitions that
// failed. They must fail in a way that passes by itself (a slot moves, a
// node fails over), for no longer than Config.Patience, while other
// partitions answer. Then there is work elsewhere, and no reason to alarm
// anybody.
func (f *fetch) overlooks(trips []*trip) bool {
	overlooked, now := true, time.Now()
	for _, t := range trips {
		p := f.s.parts[t.part]
		if t.err == nil {
			f.answered = true
			continue
		}
		p.away.CompareAndSwap(0, now.UnixMilli())
		if !t.transient() || now.Sub(time.UnixMilli(p.away.Load())) > f.s.config.Patience {
			overlooked = false
		}
	}
	overlooked = overlooked && f.answered
	f.soon = f.soon || overlooked
	return overlooked
}

// run goes on until it has been through each queue of each partition, or
// ctx ends. The scripts of all partitions travel together.
func (f *fetch) run(ctx context.Context, parts []*fetchPart, look bool) error {
	var first error
	lost, asked := 0, len(parts)
	for round := 0; round == 0 || ctx.Err() == nil; round++ {
		var trips []*trip
		var of []*fetchPart
		var sent [][]*walk
		for _, p := range parts {
			if t, walks := f.trip(p, look); t != nil {
				trips, of, sent = append(trips, t), append(of, p), append(sent, walks)
			}
		}
		if len(trips) == 0 {
			break
		}
		err := f.s.do(ctx, trips...)
		if err != nil && errors.Is(err, onceq.ErrUncertain) && ctx.Err() == nil {
			err = f.s.again(ctx, trips)
		}
		if err != nil && f.overlooks(trips) {
			err = nil
		}
		if first == nil {
			first = err
		}
		for i, t := range trips {
			if t.err != nil {
				of[i].finish()
				continue
			}
			f.s.parts[t.part].away.Store(0)
			v := list(t.reply[0])
			if v == nil {
				lost++
				of[i].finish()
				continue
			}
			if err := f.read(ctx, t, of[i], sent[i], v, look); err != nil {
				return err
			}
		}
	}
	if first == nil && lost == asked {
		return onceq.ErrLeaseLost
	}
	return first
}

// trip is the next call for a partition, and its queues; nil = it is done.
func (f *fetch) trip(p *fetchPart, look bool) (*trip, []*walk) {
	room := perScript
	var walks []*walk
	var args []any
	for _, w := range p.walks {
		if w.done {
			continue
		}
		n := w.slots
		if !look {
			n = min(n, room)
			if n == 0 && w.slots > 0 {
				continue // it is sent in the next round
			}
			room -= n
		}
		walks = append(walks, w)
		args = append(args, f.r.Queues[w.queue].Queue, n, w.cursor)
	}
	if len(walks) == 0 {
		return nil, nil
	}
	bytes := p.bytes
	if look && bytes > 0 {
		bytes = max(1, bytes/len(f.s.parts))
	}
	if p.given {
		bytes = -bytes // not even one job beyond them
	}
	kinds := packKinds(f.r.Kinds)
	if p.kinds != nil {
		kinds = packKinds(p.kinds)
	}
	head := []any{f.r.Worker, f.r.No, flag(look), bytes, kinds[0], len(walks)}
	head = append(head, kinds[1:]...)
	return &trip{script: luaFetch, part: p.part, args: append(head, args...)}, walks
}

// again sends a fetch once more whose answer was lost. The script knows its
// token and returns the same jobs.
func (s *Store) again(ctx context.Context, trips []*trip) error {
	var lost []*trip
	for _, t := range trips {
		if errors.Is(t.err, onceq.ErrUncertain) {
			lost = append(lost, t)
		}
	}
	s.send(ctx, lost)
	for _, t := range trips {
		if t.err != nil {
			return uncertain(t.err)
		}
	}
	return nil
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// finish marks everything as looked at.
func (p *fetchPart) finish() {
	for _, w := range p.walks {
		w.done = true
	}
}

// read takes in the answer of one script.
func (f *fetch) read(ctx context.Context, t *trip, p *fetchPart, walks []*walk, v []any, look bool) error {
	if len(v) != 4 {
		return errors.New("redisstore: fetch: the answer is too short")
	}
	got := make(map[string]int, len(walks))
	profiles := f.s.profilesOf(ctx, t)
	for jobs := list(v[0]); len(jobs) > 0; jobs = jobs[1:] {
		if look {
			c := list(jobs[0])
			kind := reader{s: text(c[3])}
			f.found = append(f.found, candidate{part: t.part, queue: walks[number(c[0])-1].queue,
				member: text(c[1]), bytes: int(number(c[2])), kind: kind.name()})
			continue
		}
		var j *job
		var err error
		if id, first := jobs[0].(string); first && len(jobs) > 1 {
			if j, err = readJob(id, text(jobs[1]), "", "", t.now, profiles); err == nil {
				j.State, j.Attempt, j.Run, j.Worker, j.StartedAt = onceq.Running, 1, 1, f.r.Worker, onceq.Instant(t.now)
			}
			jobs = jobs[1:]
		} else {
			j, err = f.s.readTriple(ctx, t, "", jobs[0])
		}
		if err != nil {
			return uncertain(err)
		}
		got[j.Queue]++
		f.jobs = append(f.jobs, started{f.place(walks, j.Queue), &j.JobRow})
		if p.bytes > 0 {
			p.given, p.bytes = true, max(p.bytes-j.weight, 0)
		}
	}
	next, cursors := list(v[1]), list(v[2])
	for i, w := range walks {
		if !look {
			w.slots -= got[f.r.Queues[w.queue].Queue]
		}
		due := number(next[i])
		if w.cursor != "" { // the stretches before it are as they were
			due = sooner(w.next, due)
		}
		w.next, w.cursor = due, text(cursors[i])
		w.done = w.cursor == "" && (look || w.slots == 0 || w.next != 0)
		p.many = p.many || w.cursor != ""
	}
	if number(v[3]) == 1 || p.given && p.bytes == 0 {
		p.full = true
		p.finish()
	}
	return nil
}

func (f *fetch) place(walks []*walk, queue string) int {
	for _, w := range walks {
		if f.r.Queues[w.queue].Queue == queue {
			return w.queue
		}
	}
	return 0
}

// answer has the jobs that the fetch started, in order.
func (f *fetch) answer(parts []*fetchPart) onceq.Fetched {
	r := onceq.Fetched{NextDue: -1}
	slices.SortStableFunc(f.jobs, func(a, b started) int {
		if len(f.s.parts) == 1 {
			return cmp.Compare(a.queue, b.queue)
		}
		return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.Priority, b.Priority), a.RunAt.Compare(b.RunAt),
			strings.Compare(a.ID, b.ID))
	})
	for _, j := range f.jobs {
		r.Jobs = append(r.Jobs, j.JobRow)
	}
	for _, p := range parts {
		for _, w := range p.walks {
			next := w.next
			if !w.done || p.full {
				next = 0
			}
			if d := time.Duration(next) * time.Millisecond; next >= 0 && (r.NextDue < 0 || d < r.NextDue) {
				r.NextDue = d
			}
		}
	}
	if f.soon && (r.NextDue < 0 || r.NextDue > soon) {
		r.NextDue = soon
	}
	return r
}

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

// rounds bounds how often a fetch goes on where a script stopped at its bound.
const rounds = 200

// lane is one queue of one partition, as a fetch goes through it.
type lane struct {
	queue  int // its place in the request
	slots  int // still wanted
	cursor string
	next   int64 // milliseconds until the next is due; -1 = none
	done   bool
}

// Fetch starts due jobs. With several partitions it looks first which of them come first of all, and then starts those; what another
// worker takes in between is replaced by the next in that partition.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Fetched{}, err
	}
	defer leave()
	f := &fetch{s: s, r: r, kinds: []any{}}
	for _, k := range r.Kinds {
		f.kinds = append(f.kinds, k)
	}
	if r.Kinds != nil && len(r.Kinds) == 0 {
		f.kinds = append(f.kinds, "\x00") // none: no kind is called so
	}
	wanted := make([]int, len(r.Queues))
	for i, q := range r.Queues {
		wanted[i] = max(q.Slots, 0)
	}
	parts := make([]*fetchPart, len(s.parts))
	for p := range parts {
		parts[p] = f.part(p, wanted)
	}
	if len(parts) == 1 {
		if err := f.run(ctx, parts, false); err != nil && len(f.jobs) == 0 {
			return onceq.Fetched{}, err
		}
		return f.answer(parts), nil
	}

	err = f.run(ctx, parts, true)
	if err != nil && len(f.found) == 0 {
		return onceq.Fetched{}, err
	}
	slices.SortFunc(f.found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.member, b.member))
	})
	take := make([][]int, len(parts))
	for p := range take {
		take[p] = make([]int, len(wanted))
	}
	left, over := slices.Clone(wanted), make([]bool, len(wanted))
	for _, c := range f.found {
		if left[c.queue] == 0 {
			over[c.queue] = true
			continue
		}
		left[c.queue]--
		take[c.part][c.queue]++
	}
	looked := f.answer(parts).NextDue
	for q := range over {
		if over[q] {
			looked = 0
		}
	}
	var second []*fetchPart
	for p := range parts {
		if slices.Max(append([]int{0}, take[p]...)) > 0 {
			fp := f.part(p, take[p])
			for _, l := range fp.lanes {
				l.done = l.slots == 0
			}
			second = append(second, fp)
		}
	}
	if len(second) == 0 {
		return onceq.Fetched{NextDue: looked}, err
	}
	if err := f.run(ctx, second, false); err != nil && len(f.jobs) == 0 {
		return onceq.Fetched{}, err
	}
	got := f.answer(second)
	got.NextDue = looked
	for _, p := range second {
		for _, l := range p.lanes {
			if l.slots > 0 && take[p.part][l.queue] > 0 {
				got.NextDue = 0 // another worker was faster
			}
		}
	}
	return got, nil
}

// fetch is one fetch under way.
type fetch struct {
	s     *Store
	r     onceq.FetchRequest
	kinds []any
	jobs  []found
	found []candidate

	answered bool // by some partition
	soon     bool // to be repeated, because some partition did not
}

// soon is when a fetch is repeated that some partition has not answered.
const soon = 20 * time.Millisecond

// overlooks reports whether all that failed passes by itself (a slot moves, a node fails over) and has not lasted for longer than
// Config.Patience, while other partitions have answered: there is something to do elsewhere meanwhile, and no reason to alarm anybody.
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

type found struct {
	queue int
	*onceq.JobRow
}

// candidate is a due job that was only looked at.
type candidate struct {
	part, queue int
	member      string // its order
}

type fetchPart struct {
	part  int
	lanes []*lane
}

func (f *fetch) part(p int, slots []int) *fetchPart {
	fp := &fetchPart{part: p}
	for i, n := range slots {
		fp.lanes = append(fp.lanes, &lane{queue: i, slots: n, next: -1})
	}
	return fp
}

// run goes through lanes until each is done. The partitions' scripts travel together.
func (f *fetch) run(ctx context.Context, parts []*fetchPart, look bool) error {
	var first error
	lost, asked := 0, len(parts)
	for range rounds {
		var trips []*trip
		var of []*fetchPart
		var sent [][]*lane
		for _, p := range parts {
			room := perScript
			var lanes []*lane
			args := []any{f.r.Worker, f.r.No, flag(look), len(f.kinds), 0}
			args = append(args, f.kinds...)
			for _, l := range p.lanes {
				if l.done {
					continue
				}
				n := min(l.slots, room)
				if n == 0 && l.slots > 0 {
					continue // in the next round
				}
				room -= n
				lanes = append(lanes, l)
				args = append(args, f.r.Queues[l.queue].Queue, n, l.cursor)
			}
			if len(lanes) > 0 {
				args[4] = len(lanes)
				trips = append(trips, &trip{script: luaFetch, part: p.part, args: args})
				of, sent = append(of, p), append(sent, lanes)
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
				f.finish(of[i])
				continue
			}
			f.s.parts[t.part].away.Store(0)
			v := list(t.reply[0])
			if v == nil {
				lost++
				f.finish(of[i])
				continue
			}
			if err := f.read(ctx, t, sent[i], v, look); err != nil {
				return err
			}
		}
	}
	if first == nil && lost == asked {
		return onceq.ErrLeaseLost
	}
	return first
}

// again asks once more for what a fetch started whose answer was lost: the script knows its token.
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

func (f *fetch) finish(p *fetchPart) {
	for _, l := range p.lanes {
		l.done = true
	}
}

// read takes in the answer of one script.
func (f *fetch) read(ctx context.Context, t *trip, lanes []*lane, v []any, look bool) error {
	if len(v) != 3 {
		return errors.New("redisstore: fetch: the answer is too short")
	}
	got := make(map[string]int, len(lanes))
	profiles := f.s.profilesOf(ctx, t.part)
	for jobs := list(v[0]); len(jobs) > 0; jobs = jobs[1:] {
		if look {
			c := list(jobs[0])
			l := lanes[number(c[0])-1]
			l.slots--
			f.found = append(f.found, candidate{t.part, l.queue, text(c[1])})
			continue
		}
		var j *job
		var err error
		if id, first := jobs[0].(string); first && len(jobs) > 1 {
			if j, err = readJob(id, text(jobs[1]), "", "", t.now, profiles); err == nil {
				j.State, j.Attempt, j.Run, j.Worker, j.StartedAt = onceq.Running, 1, 1, f.r.Worker, instant(t.now)
			}
			jobs = jobs[1:]
		} else {
			j, err = f.s.readTriple(ctx, t.part, "", jobs[0], t.now)
		}
		if err != nil {
			return uncertain(err)
		}
		got[j.Queue]++
		f.jobs = append(f.jobs, found{f.place(lanes, j.Queue), &j.JobRow})
	}
	next, cursors := list(v[1]), list(v[2])
	for i, l := range lanes {
		if !look {
			l.slots -= got[f.r.Queues[l.queue].Queue]
		}
		l.next, l.cursor = number(next[i]), text(cursors[i])
		l.done = l.cursor == "" && (l.slots == 0 || l.next != 0)
	}
	return nil
}

func (f *fetch) place(lanes []*lane, queue string) int {
	for _, l := range lanes {
		if f.r.Queues[l.queue].Queue == queue {
			return l.queue
		}
	}
	return 0
}

// answer is what the fetch found, in order.
func (f *fetch) answer(parts []*fetchPart) onceq.Fetched {
	r := onceq.Fetched{NextDue: -1}
	slices.SortStableFunc(f.jobs, func(a, b found) int {
		if len(f.s.parts) == 1 {
			return cmp.Compare(a.queue, b.queue)
		}
		return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.Priority, b.Priority), a.RunAt.Compare(b.RunAt), strings.Compare(a.ID, b.ID))
	})
	for _, j := range f.jobs {
		r.Jobs = append(r.Jobs, j.JobRow)
	}
	for _, p := range parts {
		for _, l := range p.lanes {
			next := l.next
			if !l.done {
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

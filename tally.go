package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what a client enqueues, and what workers with that client run,
// and now and then tells the store (see [Store.Note]). An enqueue pays for a
// few additions here and never for a call. The nil tally counts nothing.
type tally struct {
	store Store
	log   *slog.Logger
	from  string
	base  context.Context // of notes; it ends with the client
	stop  context.CancelFunc

	noting   sync.Mutex // one note at a time; before mu
	unsent   *Notes     // was sent without success
	doubted  time.Time  // since when it may have been taken; zero = it was not
	failures int        // in a row
	gone     bool       // the store is closed

	said atomic.Pointer[Tally] // of a pair whose terms are noted: most often it is asked for again; nil = of none

	mu     sync.Mutex
	pairs  map[pairName]*Tally
	last   *Tally      // the last that was asked for; nil = none
	hot    []hotCount  // at most hotKeys
	hotAt  map[Key]int // where the count of a key is
	least  int64       // no key in hot has a smaller count
	spot   int         // in hot, where the last key left
	seen   []metDuplicate
	met    int         // duplicates since the last note
	timer  *time.Timer // of the next note; nil = there is nothing to note
	noteAt time.Time   // not before
	closed bool
}

type pairName struct{ queue, kind string }

// hotCount counts the duplicates of a key. It may have taken the place of
// another key, and then begins at the count of that one, which is over.
type hotCount struct {
	HotKey
	over int64
}

// metDuplicate is a sighting, and when it was.
type metDuplicate struct {
	Sighting
	at time.Time
}

const (
	// firstNote is how long after the first event a store is told, and
	// notesEvery how long after that it may be told again.
	firstNote, notesEvery = 2 * time.Second, time.Minute
	// rarely is how often a note is tried that the store does not take.
	rarely = time.Hour
	// noteTime bounds a note, and lastNote that at the end.
	noteTime, lastNote = 10 * time.Second, 2 * time.Second
	// knownFor is for how long a note may be sent again: a store knows its
	// nonce a little longer.
	knownFor = 9 * time.Minute
	// hotKeys is how many keys are counted at a time.
	hotKeys = 64
	// mostTermsText is how many bytes terms may have.
	mostTermsText = 300
)

func newTally(store Store, log *slog.Logger) *tally {
	host, _ := os.Hostname()
	t := &tally{store: store, log: log, from: fmt.Sprintf("%s/%d", bound(host, 60), os.Getpid())}
	t.base, t.stop = context.WithCancel(context.Background())
	t.resetLocked()
	return t
}

func (t *tally) resetLocked() {
	t.pairs, t.hot, t.hotAt = map[pairName]*Tally{}, nil, map[Key]int{}
	t.seen, t.met, t.last, t.least, t.spot = nil, 0, nil, 0, 0
	t.said.Store(nil)
}

// pairLocked is the counts of a queue and kind. Beyond so many all others are
// counted together.
func (t *tally) pairLocked(queue, kind string) *Tally {
	if p := t.last; p != nil && p.Queue == queue && p.Kind == kind {
		return p
	}
	name := pairName{queue, kind}
	p := t.pairs[name]
	if p == nil && len(t.pairs) >= MaxTallies-1 {
		name = pairName{OtherPairs, OtherPairs}
		p = t.pairs[name]
	}
	if p == nil {
		p = &Tally{Queue: name.queue, Kind: name.kind}
		t.pairs[name] = p
	}
	t.last = p
	return p
}

// wantsTerms reports whether the terms of this queue and kind are to be said:
// those of the first enqueue after each note.
func (t *tally) wantsTerms(queue, kind string) bool {
	if t == nil {
		return false
	}
	if p := t.said.Load(); p != nil && p.Queue == queue && p.Kind == kind || isReserved(queue, kind) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pairs[pairName{queue, kind}]
	if p == nil {
		return len(t.pairs) < MaxTallies-1 // else it counts among the others
	}
	return p.Terms == ""
}

// enqueued counts an enqueue that was answered.
func (t *tally) enqueued(row *NewRow, r *Receipt) {
	at := slices.Index(enqueuedNames[:], r.Outcome)
	if t == nil || at < 0 || isReserved(row.Queue, row.Kind) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pairLocked(row.Queue, row.Kind)
	p.Enqueued[at]++
	if p.Queue != OtherPairs {
		if p.Terms = cmp.Or(p.Terms, row.terms); p.Terms != "" && t.said.Load() != p {
			t.said.Store(p)
		}
	}
	if r.Duplicate() && r.Conflict != nil {
		t.duplicateLocked(row, r)
	}
	t.planLocked()
}

// duplicateLocked notes a duplicate as an example, each with the same chance,
// and counts its key.
func (t *tally) duplicateLocked(row *NewRow, r *Receipt) {
	t.met++
	place := len(t.seen)
	if place < MaxSeen {
		t.seen = append(t.seen, metDuplicate{})
	} else if place = rand.IntN(t.met); place >= MaxSeen {
		place = -1
	}
	if place >= 0 {
		t.seen[place] = metDuplicate{Sighting{Queue: row.Queue, Kind: row.Kind, From: t.from, Outcome: r.Outcome,
			Conflict: *r.Conflict}, time.Now()}
	}
	if r.Conflict.By != "key" {
		return
	}
	at, known := t.hotAt[r.Conflict.Key]
	switch {
	case known:
	case len(t.hot) < hotKeys:
		at = len(t.hot)
		t.hot = append(t.hot, hotCount{})
	default: // the rarest leaves: Space-Saving, of Metwally et al.
		at = t.rarestLocked()
		delete(t.hotAt, t.hot[at].Key)
		t.hot[at].over = t.hot[at].Count
	}
	if !known {
		t.hotAt[r.Conflict.Key] = at
	}
	h := &t.hot[at]
	h.Count++
	h.Key, h.Kind, h.Text, h.Holder = r.Conflict.Key, row.Kind, r.Conflict.Text, r.Conflict.Holder
}

// rarestLocked is where a key with the least count is. Counts only grow, so it
// goes on from where it was until none is left with the least that it knows.
func (t *tally) rarestLocked() int {
	for range t.hot {
		if t.spot = (t.spot + 1) % len(t.hot); t.hot[t.spot].Count <= t.least {
			return t.spot
		}
	}
	rarest := func(a, b hotCount) int { return cmp.Compare(a.Count, b.Count) }
	t.least = slices.MinFunc(t.hot, rarest).Count
	return slices.IndexFunc(t.hot, func(h hotCount) bool { return h.Count == t.least })
}

// endStates are the states to which runs lead, as Count.Ended has them.
var endStates = []State{Completed, Retryable, Discarded, Cancelled, Scheduled}

// ended counts a run whose result the store has taken. took is how long the
// handler had it.
func (t *tally) ended(job *JobRow, state State, took time.Duration) {
	at := slices.Index(endStates, state)
	if t == nil || at < 0 || isReserved(job.Queue, job.Kind) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pairLocked(job.Queue, job.Kind)
	p.Ended[at]++
	if !job.StartedAt.IsZero() && job.StartedAt.After(job.RunAt) {
		p.WaitMS += job.StartedAt.Sub(job.RunAt).Milliseconds()
	}
	p.RunMS += took.Milliseconds()
	class, _ := slices.BinarySearch(RunClasses[:], took)
	p.RunClass[class]++
	t.planLocked()
}

// rescued counts a run of a lost worker.
func (t *tally) rescued(job *JobRow) {
	if t == nil || isReserved(job.Queue, job.Kind) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pairLocked(job.Queue, job.Kind).Ended[5]++
	t.planLocked()
}

// planLocked makes sure that a note is to come.
func (t *tally) planLocked() {
	if t.timer != nil || t.closed {
		return
	}
	t.timer = time.AfterFunc(max(firstNote, time.Until(t.noteAt)), func() {
		ctx, cancel := context.WithTimeout(t.base, noteTime)
		defer cancel()
		t.note(ctx)
	})
}

// note tells the store what was counted since the last note. What it does not
// take is counted in memory meanwhile, and told later.
func (t *tally) note(ctx context.Context) {
	if t == nil {
		return
	}
	t.noting.Lock()
	defer t.noting.Unlock()
	t.mu.Lock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.mu.Unlock()
	if t.gone {
		return
	}
	if !t.doubted.IsZero() && time.Since(t.doubted) > knownFor {
		t.unsent, t.doubted = nil, time.Time{} // the store may have taken it, and knows no more that it has
	}
	for range 2 { // what was not taken, and what came since
		if t.unsent == nil {
			t.mu.Lock()
			t.unsent = t.takeLocked()
			t.mu.Unlock()
			if t.unsent == nil {
				return
			}
		}
		if err := t.send(ctx); err != nil {
			t.postpone(err)
			return
		}
		t.unsent, t.doubted, t.failures = nil, time.Time{}, 0
		t.mu.Lock()
		t.noteAt = time.Now().Add(notesEvery - notesEvery/10 + rand.N(notesEvery/5))
		t.mu.Unlock()
	}
}

// postpone plans when to try again after a failure: less and less often.
func (t *tally) postpone(err error) {
	t.failures++
	if errors.Is(err, ErrUncertain) && t.doubted.IsZero() {
		t.doubted = time.Now()
	}
	t.gone = errors.Is(err, ErrClosed)
	t.mu.Lock()
	t.closed = t.closed || t.gone
	quiet := t.closed || t.failures > 1
	t.noteAt = time.Now().Add(min(notesEvery<<min(t.failures-1, 10), rarely))
	t.planLocked()
	t.mu.Unlock()
	if !quiet {
		t.log.Warn("onceq: counts not noted", "error", err)
	}
}

// send sends the notes in hand.
func (t *tally) send(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the store panicked: %v", p)
		}
	}()
	return t.store.Note(ctx, *t.unsent)
}

// takeLocked makes a note of what was counted, and begins anew; nil = nothing.
func (t *tally) takeLocked() *Notes {
	if len(t.pairs) == 0 {
		return nil
	}
	n := &Notes{Nonce: newNonce()}
	for _, p := range t.pairs {
		n.Tallies = append(n.Tallies, *p)
	}
	slices.SortFunc(n.Tallies, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Kind, b.Kind))
	})
	for _, h := range t.hot {
		if h.Count -= h.over; h.Count > 1 { // once is not hot
			n.Hot = append(n.Hot, h.HotKey)
		}
	}
	slices.SortFunc(n.Hot, func(a, b HotKey) int { return cmp.Compare(b.Count, a.Count) })
	n.Hot = n.Hot[:min(len(n.Hot), MaxHot)]
	for _, s := range t.seen {
		s.Ago = max(0, time.Since(s.at))
		n.Seen = append(n.Seen, s.Sighting)
	}
	t.resetLocked()
	return n
}

// close tells the store what is left, and counts no more.
func (t *tally) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.mu.Unlock()
	t.stop() // a note that is under way ends, and is sent again
	ctx, cancel := context.WithTimeout(context.Background(), lastNote)
	defer cancel()
	t.note(ctx)
}

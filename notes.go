package onceq

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Notes is what a process has counted since its last call of [Store.Note].
// Longer lists are cut.
type Notes struct {
	Nonce   [16]byte   // random for each call; one that is sent again repeats it, and counts once
	Tallies []Tally    // at most MaxTallies
	Hot     []HotKey   // keys that met most duplicates, at most MaxHot
	Seen    []Sighting // some of the duplicates, at most MaxSeen
}

// The bounds of [Notes]. A store keeps no more than MaxTallies pairs of queue
// and kind for each minute and hour; what is beyond counts as [OtherPairs].
const (
	MaxTallies = 200       // pairs of queue and kind
	MaxHot     = 20        // hot keys of one note
	MaxSeen    = 10        // sightings of one note, and of a minute
	OtherPairs = "(other)" // in place of the queue and the kind
)

// Tally is what happened to jobs of one queue and kind.
type Tally struct {
	Queue string // of the jobs
	Kind  string // of the jobs
	Terms string // how the kind is unique, as [Explanation] says it; "" = not noted
	Count
}

// Count is numbers of events.
type Count struct {
	Enqueued [6]int64 // by outcome: inserted, skipped, rejected, replaced, coalesced, superseded
	Ended    [6]int64 // runs: completed, to be retried, discarded, cancelled, put back, lost
	WaitMS   int64    // from due to started, of all runs together, in milliseconds
	RunMS    int64    // from started to ended, of all runs together, in milliseconds
	RunClass [8]int64 // runs by duration: up to each of RunClasses, and longer
}

// RunClasses are the upper bounds of the durations that [Count] tells apart.
var RunClasses = [7]time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
	time.Minute, 10 * time.Minute, time.Hour}

// Add adds up.
func (c *Count) Add(more *Count) {
	for i := range c.Enqueued {
		c.Enqueued[i] += more.Enqueued[i]
	}
	for i := range c.Ended {
		c.Ended[i] += more.Ended[i]
	}
	for i := range c.RunClass {
		c.RunClass[i] += more.RunClass[i]
	}
	c.WaitMS, c.RunMS = c.WaitMS+more.WaitMS, c.RunMS+more.RunMS
}

// Duplicates is how many enqueues made no job of their own.
func (c *Count) Duplicates() int64 { return c.Enqueued[1] + c.Enqueued[2] + c.Enqueued[3] }

// What the places of Count.Enqueued and Count.Ended are called in JSON.
var (
	enqueuedNames = [6]Outcome{Inserted, Skipped, Rejected, Replaced, Coalesced, Superseded}
	endedNames    = [6]string{"completed", "retried", "discarded", "cancelled", "put_back", "lost"}
)

// HotKey is a key that met many duplicates.
type HotKey struct {
	Key    Key       // the key itself
	Kind   string    // of the enqueues that met it
	Text   string    // the readable key; a store may cut it at 200 bytes
	Holder string    // the job that held it last
	Count  int64     // duplicates: a lower bound
	LastAt time.Time // when a store was last told of it, by its clock; not in Notes
}

// Sighting is one duplicate, as an example.
type Sighting struct {
	At       time.Time     // by the store's clock; not in Notes
	Ago      time.Duration // how long ago it was, in Notes
	Queue    string        // of the enqueue
	Kind     string        // of the enqueue
	From     string        // the host and process that enqueued
	Outcome  Outcome       // skipped, rejected or replaced
	Conflict Conflict      // what it met
}

// KindTerms is on what terms jobs of a kind were unique.
type KindTerms struct {
	Queue   string    // of the jobs
	Kind    string    // of the jobs
	Terms   string    // as Tally.Terms
	FirstAt time.Time // when they were first noted
	LastAt  time.Time // when they were last noted, within an hour
}

// StatsRequest asks for what was noted.
type StatsRequest struct {
	Span  time.Duration // how far to look back; 0 = an hour; up to 3h in minutes, up to 8 days in hours
	Queue string        // "" = all
	Kind  string        // "" = all
	Hot   int           // how many hot keys of the last day
	Seen  int           // how many sightings of the last 100 minutes
	Terms bool          // with the terms of kinds
}

// MaxSpan is how far back [Client.Stats] can look.
const MaxSpan = 8 * 24 * time.Hour

// Stats is what clients and workers have noted. They note once a minute: the
// last minute may be incomplete, and that of a process that was killed is
// missing. Hot keys are lower bounds, and sightings are a sample.
type Stats struct {
	Now    time.Time     // the store's clock
	From   time.Time     // where the series begin
	Step   time.Duration // how long each of their points is: a minute or an hour
	Series []Series      // by queue and kind
	Hot    []HotKey      // the hottest first
	Seen   []Sighting    // the latest first
	Terms  []KindTerms   // by queue and kind
}

// Series is the counts of one queue and kind over time.
type Series struct {
	Queue  string  // of the jobs, or OtherPairs
	Kind   string  // of the jobs, or OtherPairs
	Points []Count // one for each step from Stats.From on
}

// Total is all points together.
func (s *Series) Total() (all Count) {
	for i := range s.Points {
		all.Add(&s.Points[i])
	}
	return all
}

// CoversUntil is until when all processes that live have noted, unless the
// store refused their notes.
func (s *Stats) CoversUntil() time.Time { return s.Now.Add(-notesEvery - notesEvery/10 - noteTime) }

// Stats returns what clients and workers have noted of enqueues, duplicates and
// runs.
func (c *Client) Stats(ctx context.Context, r StatsRequest) (Stats, error) {
	if err := cmp.Or(c.usable(ctx), r.validate()); err != nil {
		return Stats{}, err
	}
	s, err := c.store.Stats(ctx, r)
	if err != nil {
		return Stats{}, fmt.Errorf("onceq: read stats: %w", err)
	}
	return s, nil
}

func (r *StatsRequest) validate() error {
	if r.Span < 0 || r.Span > MaxSpan {
		return invalid("span", r.Span, "must be 0 (an hour) to %s", MaxSpan)
	}
	return nil
}

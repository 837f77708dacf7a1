package pgstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

const (
	// stretch is how many rows are looked at in one trip: a page may take its
	// time longer by as much as that takes.
	stretch = 500
	// fewJobs is up to how many waiting and running jobs are looked at for each
	// page, in no order of their IDs.
	fewJobs = 5000
)

// lookAt chooses the indexes that have all that these states need; 0 = none
// has.
func lookAt(states []onceq.State) (indexes int) {
	for _, s := range states {
		switch s {
		case onceq.Completed:
			return 0
		case onceq.Scheduled:
			indexes |= waitingJobs | standingJobs
		case onceq.Available:
			indexes |= waitingJobs
		case onceq.Running:
			indexes |= runningJobs
		case onceq.Discarded, onceq.Cancelled:
			indexes |= otherJobs
		}
	}
	if slices.Contains(states, onceq.Retryable) && indexes&waitingJobs == 0 { // else they are among what waits
		indexes |= otherJobs
	}
	return indexes
}

// List returns a page of jobs, largest ID first. It looks at a stretch of them
// in each trip.
func (s *Store) List(ctx context.Context, l onceq.ListRequest) (page onceq.JobPage, err error) {
	began, look, most := time.Now(), cmp.Or(l.Look, onceq.MaxLook), stretch
	if !l.Filtered() {
		most = l.Limit
	}
	args := newListArgs(&l)
	for cursor := l.Cursor; ; most = stretch {
		most = min(most, look-page.Looked)
		var end listEnd
		page.Jobs, end, err = s.listed(ctx, &l, args, page.Jobs, cursor, most)
		if err != nil {
			return onceq.JobPage{}, err
		}
		page.Now, page.Looked = end.now, page.Looked+end.looked
		cursor = cmp.Or(end.last, cursor)
		switch {
		case !end.more:
			return page, nil
		case end.full, len(page.Jobs) == l.Limit, page.Looked >= look, time.Since(began) > onceq.MaxLookTime:
			page.Next = cursor
			return page, nil
		}
		args.bytes -= end.bytes
	}
}

// listArgs is what does not change from one stretch of a list to the next,
// but for the bytes that there is room for.
type listArgs struct {
	indexes, shown int
	key            []byte
	from, to       int64
	bytes          int64
}

func newListArgs(l *onceq.ListRequest) *listArgs {
	a := &listArgs{indexes: lookAt(l.States), shown: 1<<len(stateOf) - 1, bytes: onceq.MaxPageBytes}
	if len(l.States) > 0 {
		a.shown = 0
	}
	for _, s := range l.States {
		a.shown |= 1 << codeOf[s]
	}
	if l.Key != nil {
		a.key = l.Key[:]
	}
	a.from, a.to = l.Enqueued()
	return a
}

// listEnd is what list_v3 says at its end.
type listEnd struct {
	now        time.Time
	looked     int
	last       string
	bytes      int64
	more, full bool
}

// listed adds those jobs of a stretch that match.
func (s *Store) listed(ctx context.Context, l *onceq.ListRequest, a *listArgs, have []*onceq.JobRow, cursor string,
	most int) (jobs []*onceq.JobRow, end listEnd, err error) {
	var bytes *int64
	if l.Args {
		bytes = &a.bytes
	}
	err = s.read(ctx, "list", func(ctx context.Context) error {
		jobs, end = slices.Clip(have), listEnd{}
		return s.query(ctx, s.sql.list, func(r *record) {
			now := r.int64()
			e := listEnd{now: onceq.Instant(now), looked: r.int(), last: r.string(), bytes: r.int64(), more: r.bool(),
				full: r.bool()}
			j := r.job(now)
			if j == nil {
				end = e
				return
			}
			if !l.Args {
				j.Args = nil
			}
			jobs = append(jobs, j)
		}, cursor, most, a.indexes, fewJobs, a.shown, askedName(l.Queue), askedName(l.Kind), a.key, askedName(l.Tag),
			askedName(l.Worker), a.from, a.to, l.Limit-len(have), bytes, len(have) == 0)
	})
	return jobs, end, err
}

package sqlitestore

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/onceq/onceq"
)

var (
	sqlList        = load("list")
	sqlListState   = load("list_state")
	sqlListRunning = load("list_running")
	sqlListBound   = load("list_bound")
	sqlKeys        = load("keys")
	sqlQueues      = load("queues")
	sqlCountDue    = load("count_due")
	sqlQuickCheck  = load("quick_check")
)

// Get returns jobs by ID.
func (s *Store) Get(ctx context.Context, ids []string) (rows []*onceq.JobRow, err error) {
	what := fmt.Sprintf("get %d jobs", len(ids))
	if len(ids) == 1 {
		what = "get " + ids[0]
	}
	err = s.readAll(ctx, what, func(st *step) error {
		if err := st.readJobs(ids); err != nil {
			return err
		}
		found := make([]*job, len(ids))
		for i, id := range ids {
			if found[i], err = st.job(id); err != nil {
				return err
			}
		}
		if err := st.readArgs(found...); err != nil {
			return err
		}
		rows = make([]*onceq.JobRow, len(ids))
		for i, j := range found {
			if j != nil {
				rows[i] = j.View(st.Now)
			}
		}
		return nil
	})
	return rows, err
}

// How many rows are looked at for a page before it ends with a cursor.
const (
	lookAtJobs = 5000
	lookAtKeys = 2000
)

// List returns a page of jobs, the largest ID first.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (page onceq.JobPage, err error) {
	err = s.readAll(ctx, "list jobs", func(st *step) (err error) {
		page, err = st.list(r)
		return err
	})
	for _, j := range page.Jobs {
		if !r.Filter.Args {
			j.Args = nil
		}
	}
	return page, err
}

func (st *step) list(r onceq.ListRequest) (page onceq.JobPage, err error) {
	f := r.Filter
	var below any = r.After
	if r.After == "" {
		below = []byte{} // in SQLite any blob is larger than every text
	}
	q, above := sqlList, ""
	state, due := int64(-1), any(nil)
	switch f.State {
	case "":
	case onceq.Available:
		due = int64(1)
	case onceq.Scheduled, onceq.Retryable:
		state, due = stateNo(f.State), int64(0)
	default:
		state = stateNo(f.State)
	}
	switch f.State {
	case onceq.Retryable, onceq.Discarded, onceq.Cancelled:
		q = sqlListState
	case onceq.Running:
		q = sqlListRunning
	default:
		if f != (onceq.JobFilter{All: f.All, Limit: f.Limit, Args: f.Args}) { // some rows need not match
			if err := st.each(sqlListBound, 1, func(v []any) error {
				above = text(v[0])
				return nil
			}, below, int64(max(lookAtJobs, r.Limit)-1)); err != nil {
				return page, err
			}
		}
	}
	key := []byte{}
	if f.Key != nil {
		key = f.Key[:]
	}
	var jobs []*job
	more, size := false, 0
	err = st.each(q, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		if err != nil {
			return err
		}
		if f.Args {
			size += j.argsSize() + len(j.MetaJSON)
		}
		if more = len(jobs) == r.Limit || len(jobs) > 0 && size > onceq.MaxPageBytes; more {
			return errEnough
		}
		jobs = append(jobs, j)
		return nil
	}, below, above, state, due, st.Now, f.Queue, f.Kind, key, int64(r.Limit+1))
	if err == nil && f.Args {
		err = st.readArgs(jobs...)
	}
	for _, j := range jobs {
		page.Jobs = append(page.Jobs, j.View(st.Now))
	}
	switch {
	case more:
		page.Next = jobs[len(jobs)-1].ID
	case above != "":
		page.Next = above // all rows down to here were looked at
	}
	return page, err
}

// Keys returns a page of keys, in their order.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (page onceq.KeyPage, err error) {
	what := "list keys"
	if r.Key != nil {
		what = "look up key " + r.Key.String()
	}
	after, err := hex.DecodeString(r.After)
	if err != nil {
		return page, wrap(what, &onceq.InvalidError{Field: "after", Value: r.After,
			Rule: "must be the cursor of the page before"})
	}
	err = s.readAll(ctx, what, func(st *step) error {
		page = onceq.KeyPage{}
		if r.Key != nil {
			k, err := st.key(*r.Key)
			if err != nil || !k.stored {
				return err
			}
			return st.show(&page, k, r.Filter)
		}
		var rows []*heldKey
		if err := st.each(sqlKeys, keyWidth+jobWidth, func(v []any) error {
			k, err := scanKey(v)
			rows = append(rows, k)
			if err != nil || noJob(v[keyWidth:]) { // its row is gone
				return err
			}
			j, err := scanJob(v[keyWidth:])
			if err == nil {
				st.know(j)
			}
			return err
		}, after, int64(max(lookAtKeys, r.Limit)+1)); err != nil {
			return err
		}
		for i, k := range rows {
			if len(page.Keys) == r.Limit || i == max(lookAtKeys, r.Limit) {
				page.Next = rows[i-1].Name.String()
				break
			}
			if err := st.show(&page, k, r.Filter); err != nil {
				return err
			}
		}
		return nil
	})
	return page, err
}

// show adds a key to a page if it matches.
func (st *step) show(page *onceq.KeyPage, k *heldKey, f onceq.KeyFilter) error {
	if err := st.resolve(k); err != nil {
		return err
	}
	if k.orphan() {
		return errOrphan(k)
	}
	h, _ := k.Show(st.Now)
	if h.Inert && !f.Inert || f.Queue != "" && f.Queue != h.Queue || f.Kind != "" && f.Kind != h.Kind {
		return nil
	}
	page.Keys = append(page.Keys, h)
	return nil
}

// maxCounted is the number up to which due jobs are counted.
const maxCounted = 10_000

// Queues returns the queues that have a job or are paused, by name. Due
// jobs are counted up to 10,000 of each priority; all other counts are
// exact.
func (s *Store) Queues(ctx context.Context) (infos []onceq.QueueInfo, err error) {
	err = s.readAll(ctx, "list queues", func(st *step) error {
		infos = nil
		var stored [][len(states)]int
		if err := st.each(sqlQueues, 2+len(states), func(v []any) error {
			var counts [len(states)]int
			total := 0
			for i := range counts {
				counts[i] = int(integer(v[2+i]))
				total += counts[i]
			}
			if paused := integer(v[1]) != 0; paused || total != 0 {
				infos, stored = append(infos, onceq.QueueInfo{Name: text(v[0]), Paused: paused}), append(stored, counts)
			}
			return nil
		}); err != nil {
			return err
		}
		for i := range infos {
			if err := st.countDue(&infos[i], stored[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return infos, err
}

// countDue finds out how many of the waiting jobs of a queue are due.
func (st *step) countDue(info *onceq.QueueInfo, stored [len(states)]int) error {
	info.Counts = map[onceq.State]int{}
	heads, err := st.heads(info.Name, nil)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if !h.due(st.Now) {
			continue
		}
		if due := onceq.Instant(h.first); info.OldestDue.IsZero() || due.Before(info.OldestDue) {
			info.OldestDue = due
		}
		if err := st.each(sqlCountDue, 2, func(v []any) error {
			state, n := integer(v[0]), int(integer(v[1]))
			stored[state] -= n
			info.Counts[onceq.Available] += n
			return nil
		}, info.Name, h.kind, h.priority, st.Now, int64(maxCounted)); err != nil {
			return err
		}
	}
	for i, n := range stored {
		if n != 0 {
			info.Counts[states[i]] = n
		}
	}
	return nil
}

// Check reads the whole file. It reports what SQLite finds wrong with it,
// and rows of onceq that do not agree with each other.
func (s *Store) Check(ctx context.Context) (findings []string, err error) {
	err = s.readAll(ctx, "check", func(st *step) error {
		if findings, err = st.quickCheck(); err != nil {
			return err
		}
		for _, q := range checks {
			if err := st.each(q, 1, func(v []any) error {
				findings = append(findings, text(v[0]))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return findings, err
}

var checks = []*statement{load("check_keys"), load("check_waiters"), load("check_behind"), load("check_counts"),
	load("check_args")}

// quickCheck is the check of SQLite itself.
func (st *step) quickCheck() (findings []string, err error) {
	err = st.each(sqlQuickCheck, 1, func(v []any) error {
		if line := text(v[0]); line != "ok" {
			findings = append(findings, line)
		}
		return nil
	})
	return findings, err
}

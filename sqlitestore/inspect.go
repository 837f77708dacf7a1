package sqlitestore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlKeys       = load("keys")
	sqlWorkers    = load("workers")
	sqlQuickCheck = load("quick_check")
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
		return st.readResults(found, rows)
	})
	return rows, err
}

// Keys returns a page of keys, in their order.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (page onceq.KeyPage, err error) {
	what := "list keys"
	if r.Key != nil {
		what = "look up key " + r.Key.String()
	}
	first, last, err := r.Range()
	if err != nil {
		return page, wrap(what, err)
	}
	err = s.readAll(ctx, what, func(st *step) error {
		page = onceq.KeyPage{Now: onceq.Instant(st.Now)}
		if r.Key == nil {
			return st.keysFrom(&page, &r, first, last)
		}
		k, err := st.key(*r.Key)
		if err != nil || !k.stored {
			return err
		}
		page.Looked = 1
		h, err := st.shown(k)
		if err == nil && r.Matches(h) {
			page.Keys = append(page.Keys, h)
		}
		return err
	})
	return page, err
}

// lookAtKeys is how many keys are read at once: a page may take its time longer
// by as much as that takes.
const lookAtKeys = 250

// keysFrom fills a page with keys of a range.
func (st *step) keysFrom(page *onceq.KeyPage, r *onceq.KeysRequest, first, last onceq.Key) error {
	look, began := cmp.Or(r.Look, onceq.MaxLook), time.Now()
	n := min(lookAtKeys, r.Limit+1)
	for looked := first; ; n = lookAtKeys {
		rows, err := st.readRange(first, last, n+1)
		if err != nil {
			return err
		}
		for i, k := range rows {
			if first = k.Name; i == n { // it is read again, with those behind it
				break
			}
			h, err := st.shown(k)
			if err != nil {
				return err
			}
			match := r.Matches(h)
			if page.Looked == look || match && len(page.Keys) == r.Limit ||
				i == 0 && time.Since(began) > onceq.MaxLookTime {
				page.Next = looked.String()
				return nil
			}
			page.Looked++
			if looked = k.Name; match {
				page.Keys = append(page.Keys, h)
			}
		}
		if len(rows) <= n {
			return nil
		}
	}
}

// readRange reads up to n keys of a range, and the jobs that hold them.
func (st *step) readRange(first, last onceq.Key, n int) (rows []*heldKey, err error) {
	err = st.each(sqlKeys, keyWidth+jobWidth, func(v []any) error {
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
	}, first[:], last[:], int64(n))
	return rows, err
}

// shown is a key as it is shown.
func (st *step) shown(k *heldKey) (*onceq.HeldKey, error) {
	if err := st.resolve(k); err != nil {
		return nil, err
	}
	if k.orphan() {
		return nil, errOrphan(k)
	}
	h, _ := k.Show(st.Now)
	return h, nil
}

// Workers lists the workers that are known.
func (s *Store) Workers(ctx context.Context) (all []onceq.WorkerInfo, err error) {
	err = s.readAll(ctx, "list workers", func(st *step) error {
		all = nil
		return st.each(sqlWorkers, 6, func(v []any) error {
			w := onceq.WorkerInfo{Name: text(v[0]), Since: onceq.Instant(integer(v[1])),
				BeatAt: onceq.Instant(integer(v[2])), LeaseUntil: onceq.Instant(integer(v[3])),
				Late: integer(v[3]) <= st.Now, Running: int(integer(v[5]))}
			if about := text(v[4]); about != "" {
				w.About = []byte(about)
			}
			all = append(all, w)
			return nil
		})
	})
	return all, err
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

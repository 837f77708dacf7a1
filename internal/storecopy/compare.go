package storecopy

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// compare proves the copy: every job and every key of FROM is in TO, or is
// named in Refused. Both stores list in the same order, so that each is read
// once.
func (c *copier) compare(ctx context.Context) error {
	if err := c.compareJobs(ctx); err != nil {
		return err
	}
	return c.compareKeys(ctx)
}

// brief is how near its end a job or a key is that may end while it is copied.
const brief = time.Minute

func (c *copier) compareJobs(ctx context.Context) error {
	from, to := lister(c.from, "FROM"), lister(c.to, "TO")
	twin, err := to.next(ctx)
	for err == nil {
		j, fromErr := from.next(ctx)
		if fromErr != nil || j == nil {
			return fromErr
		}
		if c.missing[j.ID] {
			continue
		}
		id := j.ID
		if j.Key != nil && c.isHolder(j.ID) {
			id = c.twin(j.ID, j.Key)
		}
		for twin != nil && twin.ID > id && err == nil {
			twin, err = to.next(ctx)
		}
		if err != nil {
			break
		}
		there := twin != nil && twin.ID == id
		switch {
		case j.State == onceq.Running:
			return fmt.Errorf("job %s of FROM began to run meanwhile: stop what works there, and copy again", j.ID)
		case there && (!j.State.Finished() || twin.State == j.State):
		case there && unfinished(twin):
			return fmt.Errorf("job %s is %s in FROM, and %s in TO: copy again", j.ID, j.State, twin.State)
		case there: // it was retried in TO, or ended there, after an earlier copy
		case j.State.Finished() && time.Duration(j.KeepUntil().UnixMilli()-from.now)*time.Millisecond < brief:
		default:
			return fmt.Errorf("job %s of FROM is not in TO: it came meanwhile, or TO has run and removed it; "+
				"stop what works in both, and copy again", j.ID)
		}
	}
	return err
}

func (c *copier) compareKeys(ctx context.Context) error {
	from, to := keyLister(c.from, "FROM"), keyLister(c.to, "TO")
	twin, err := to.next(ctx)
	for err == nil {
		k, fromErr := from.next(ctx)
		if fromErr != nil || k == nil {
			return fromErr
		}
		if c.missing[k.Holder] {
			continue
		}
		id := c.twin(k.Holder, &k.Key)
		for twin != nil && bytes.Compare(twin.Key[:], k.Key[:]) < 0 && err == nil {
			twin, err = to.next(ctx)
		}
		if err != nil {
			break
		}
		switch {
		case twin != nil && twin.Key == k.Key && twin.Holder == id:
			c.report.Keys++
		case !k.FreesAt.IsZero() && time.Duration(k.FreesAt.UnixMilli()-from.now)*time.Millisecond < brief:
		default:
			return fmt.Errorf("key %s (%s) is held by job %s in FROM and not in TO: something changed meanwhile; stop "+
				"what works in both, and copy again", k.Key, k.Text, k.Holder)
		}
	}
	return err
}

// walk reads a list page by page.
type walk[T any] struct {
	read func(ctx context.Context, cursor string) (rows []T, next string, now int64, err error)
	rows []T
	at   string
	over bool
	now  int64 // the clock of the store at the last page
}

// next is the next row; the zero value = there is none.
func (w *walk[T]) next(ctx context.Context) (row T, err error) {
	for len(w.rows) == 0 {
		if w.over {
			return row, nil
		}
		if w.rows, w.at, w.now, err = w.read(ctx, w.at); err != nil {
			return row, err
		}
		w.over = w.at == ""
	}
	row, w.rows = w.rows[0], w.rows[1:]
	return row, nil
}

func lister(s onceq.Store, name string) *walk[*onceq.JobRow] {
	return &walk[*onceq.JobRow]{read: func(ctx context.Context, at string) ([]*onceq.JobRow, string, int64, error) {
		p, err := s.List(ctx, onceq.ListRequest{Cursor: at, Limit: 1000})
		if err != nil {
			return nil, "", 0, fmt.Errorf("compare: list the jobs of %s: %w", name, err)
		}
		return p.Jobs, p.Next, p.Now.UnixMilli(), nil
	}}
}

func keyLister(s onceq.Store, name string) *walk[*onceq.HeldKey] {
	return &walk[*onceq.HeldKey]{read: func(ctx context.Context, at string) ([]*onceq.HeldKey, string, int64, error) {
		p, err := s.Keys(ctx, onceq.KeysRequest{Cursor: at, Limit: 1000})
		if err != nil {
			return nil, "", 0, fmt.Errorf("compare: list the keys of %s: %w", name, err)
		}
		return p.Keys, p.Next, p.Now.UnixMilli(), nil
	}}
}

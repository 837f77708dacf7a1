package sqlitestore

import (
	"cmp"
	"context"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

var (
	sqlRuns       = load("runs")
	sqlExpired    = load("expired")
	sqlStrays     = load("strays")
	sqlPrune      = load("prune")
	sqlSpentKeys  = load("spent_keys")
	sqlEndPauses  = load("end_pauses")
	sqlDropQueues = load("drop_queues")
)

// dropsQueues is how many rows of queues a sweep drops: they are small.
const dropsQueues = 50_000

// Sweep tidies. A round that finds nothing to drop writes nothing.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (swept onceq.Swept, err error) {
	err = s.write(ctx, "sweep", func(st *step) (err error) {
		swept, err = st.sweep(r)
		return err
	})
	return swept, err
}

func (st *step) sweep(r onceq.SweepRequest) (swept onceq.Swept, err error) {
	for _, beat := range r.Lost {
		if err := st.lost(beat, r.Limit, &swept); err != nil {
			return swept, err
		}
	}
	if err := st.expired(r.Limit, &swept); err != nil {
		return swept, err
	}
	if err := st.prune(r.Limit, &swept); err != nil {
		return swept, err
	}
	if err := st.dropKeys(r.Limit, &swept); err != nil {
		return swept, err
	}
	if swept.Jobs > 0 {
		if err := st.flush(); err != nil { // writes the counts
			return swept, err
		}
	}
	if err := st.exec(sqlDropNotes, st.Now); err != nil {
		return swept, err
	}
	if err := st.exec(sqlEndPauses, st.Now); err != nil {
		return swept, err
	}
	n, err := st.affect(sqlDropQueues, int64(dropsQueues))
	swept.More = swept.More || n == dropsQueues
	return swept, err
}

// lost lists the runs of a worker whose beat is still the one that the
// sweeper saw. It forgets a worker that has none left.
func (st *step) lost(beat onceq.Beat, limit int, swept *onceq.Swept) error {
	known, still := false, false
	if err := st.each(sqlWorker, 2, func(v []any) error {
		known, still = true, integer(v[1]) == beat.No && integer(v[0]) <= st.Now
		return nil
	}, beat.Worker); err != nil {
		return err
	}
	if known && !still || !known && beat.No != -1 {
		return nil
	}
	n, room := 0, limit-len(swept.Runs)
	if err := st.each(sqlRuns, jobWidth, func(v []any) error {
		if n++; n > room {
			swept.More = true
			return nil
		}
		j, err := scanJob(v)
		if err == nil {
			swept.Runs = append(swept.Runs, j.View(st.Now)) // without args: a rescue does not need them
		}
		return err
	}, beat.Worker, int64(room+1)); err != nil {
		return err
	}
	if n == 0 && known {
		return st.exec(sqlDeleteWorker, beat.Worker)
	}
	return nil
}

// expired reports workers whose lease is over, and runs of unknown workers.
func (st *step) expired(limit int, swept *onceq.Swept) error {
	n := 0
	add := func(b onceq.Beat) {
		if n++; n > limit {
			swept.More = true
			return
		}
		swept.Expired = append(swept.Expired, b)
	}
	if err := st.each(sqlExpired, 2, func(v []any) error {
		add(onceq.Beat{Worker: text(v[0]), No: integer(v[1])})
		return nil
	}, st.Now, int64(limit+1)); err != nil {
		return err
	}
	n = 0
	if err := st.each(sqlStrays, 1, func(v []any) error {
		add(onceq.Beat{Worker: text(v[0]), No: -1})
		return nil
	}, int64(limit+1)); err != nil {
		return err
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Compare(a.Worker, b.Worker) })
	return nil
}

// pruneBytes bounds the args of the jobs that one sweep removes: each of
// their pages goes to the list of free pages, and nobody else can write
// meanwhile.
const pruneBytes = 16 << 20

// prune removes finished jobs whose retention is over.
func (st *step) prune(limit int, swept *onceq.Swept) error {
	var jobs []*job
	size := 0
	if err := st.each(sqlPrune, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		if err != nil {
			return err
		}
		size += j.argsSize()
		if len(jobs) == limit || len(jobs) > 0 && size > pruneBytes {
			swept.More = true
			return errEnough
		}
		jobs = append(jobs, j)
		return nil
	}, st.Now, int64(limit+1)); err != nil {
		return err
	}
	for _, j := range jobs {
		st.know(j)
	}
	if err := st.readKeys(); err != nil {
		return err
	}
	for _, j := range jobs {
		k, err := st.keyOf(j)
		if err != nil {
			return err
		}
		st.Prune(j.Job, k)
		swept.Jobs++
	}
	return nil
}

// dropKeys drops keys that are free.
func (st *step) dropKeys(limit int, swept *onceq.Swept) error {
	var spent []*heldKey
	if err := st.each(sqlSpentKeys, keyWidth, func(v []any) error {
		k, err := scanKey(v)
		spent = append(spent, k)
		return err
	}, st.Now, int64(limit+1)); err != nil {
		return err
	}
	for _, k := range spent {
		if known := st.keys[k.Name]; known != nil {
			if known.Mark != rules.Clean {
				continue // prune has done it
			}
			k = known
		}
		if swept.Keys == limit {
			swept.More = true
			break
		}
		k.Mark, st.keys[k.Name] = rules.Removed, k
		swept.Keys++
	}
	return nil
}

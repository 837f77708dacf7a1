package sqlitestore

import (
	"cmp"
	"context"

	"github.com/onceq/onceq"
)

var (
	sqlQueues     = load("queues")
	sqlCountDue   = load("count_due")
	sqlCountLater = load("count_later")
	sqlStanding   = load("standing")
)

// Queues returns the queues that have a job or are paused, by name. Each step
// counts what it changes (see onceq_queues); only how many of the waiting jobs
// are due has to be counted here.
func (s *Store) Queues(ctx context.Context, r onceq.QueuesRequest) (all onceq.QueueList, err error) {
	most := cmp.Or(r.Most, onceq.MaxCount)
	err = s.readAll(ctx, "list queues", func(st *step) error {
		all = onceq.QueueList{Now: onceq.Instant(st.Now)}
		var stored []counts
		if err := st.each(sqlQueues, 2+len(states), func(v []any) error {
			var n counts
			total := 0
			for i := range n {
				n[i] = int(integer(v[2+i]))
				total += n[i]
			}
			until := pausedUntil(integer(v[1]))
			info := onceq.QueueInfo{Name: text(v[0]), Paused: until > st.Now}
			if info.Paused {
				info.PausedUntil = onceq.Instant(until)
			}
			if info.Paused || total != 0 {
				stored = append(stored, n)
				all.Queues = append(all.Queues, info)
			}
			return nil
		}); err != nil {
			return err
		}
		for i := range all.Queues {
			if err := st.countDue(&all.Queues[i], stored[i], most); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// counts are numbers of jobs by stored state.
type counts [len(states)]int

// waiting is how many of them wait; they have the first two states.
func (n counts) waiting() int { return n[0] + n[1] }

// countDue finds out how many of the waiting jobs of a queue are due. It counts
// the due ones; if they are many it counts the others; and if those are many
// too, both are lower bounds.
func (st *step) countDue(info *onceq.QueueInfo, stored counts, most int) error {
	info.Counts = map[onceq.State]int{}
	heads, err := st.heads(info.Name, nil)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if due := onceq.Instant(h.first); h.due(st.Now) && (info.OldestDue.IsZero() || due.Before(info.OldestDue)) {
			info.OldestDue = due
		}
	}
	var due, later counts
	if err := st.countWaiting(sqlCountDue, info.Name, heads, most, &due); err != nil {
		return err
	}
	waiting := stored.waiting()
	switch {
	case due.waiting() <= most:
		later = counts{stored[0] - due[0], stored[1] - due[1]}
		waiting = due.waiting()
	default:
		if err := st.countWaiting(sqlCountLater, info.Name, heads, most, &later); err != nil {
			return err
		}
		if later.waiting() > most {
			info.AtLeast = []onceq.State{onceq.Scheduled, onceq.Available, onceq.Retryable}
			waiting = due.waiting()
			break
		}
		standing, err := st.number(sqlStanding, info.Name)
		if err != nil {
			return err
		}
		later[0] += int(standing)
		waiting -= later.waiting()
	}
	stored[0], stored[1] = later[0], later[1]
	for i, n := range stored {
		if n != 0 {
			info.Counts[states[i]] = n
		}
	}
	if waiting != 0 {
		info.Counts[onceq.Available] = waiting
	}
	return nil
}

// countWaiting counts jobs of a queue by stored state, up to one more than
// most.
func (st *step) countWaiting(q *statement, queue string, heads []head, most int, n *counts) error {
	for _, h := range heads {
		left := most + 1 - n.waiting()
		if left <= 0 {
			break
		}
		if err := st.each(q, 2, func(v []any) error {
			n[integer(v[0])] += int(integer(v[1]))
			return nil
		}, queue, h.kind, h.priority, st.Now, int64(left)); err != nil {
			return err
		}
	}
	return nil
}

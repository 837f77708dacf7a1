package memstore

import (
	"context"
	"slices"

	"github.com/onceq/onceq"
)

// listener waits for jobs of some queues, and for stops of the runs of a
// worker.
type listener struct {
	queues []string
	worker string
	wake   chan onceq.Wake
}

// Wake sends which queue has a due job, and which worker has a run to stop.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	s.listeners[l] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
		close(l.wake)
	})
	return l.wake, nil
}

func (s *Store) notify(queue string) {
	for l := range s.listeners {
		if slices.Contains(l.queues, queue) {
			l.send(onceq.Wake{Queue: queue})
		}
	}
}

func (s *Store) notifyStop(worker string) {
	for l := range s.listeners {
		if worker != "" && l.worker == worker {
			l.send(onceq.Wake{Stop: true})
		}
	}
}

func (l *listener) send(w onceq.Wake) {
	select {
	case l.wake <- w:
	default: // it has enough to wake up for
	}
}

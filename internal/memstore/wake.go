package memstore

import (
	"context"

	"github.com/onceq/onceq"
)

// Wake sends which queue has a due job, and which worker has a run to stop.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.listeners.Add(ctx, r)
}

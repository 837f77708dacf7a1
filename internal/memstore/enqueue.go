package memstore

import (
	"context"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Enqueue accepts rows one after another.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	results := make([]onceq.EnqueueResult, len(r.Rows))
	for i := range r.Rows {
		results[i] = st.enqueue(&r.Rows[i])
		own(results[i].Job)
	}
	return results, nil
}

func (st *step) enqueue(r *onceq.NewRow) onceq.EnqueueResult {
	if j := st.jobs[r.ID]; j != nil {
		return st.Known(j, r, st.key(j.Key), st.jobs[j.Displaced])
	}
	var k *rules.Key
	if r.Claim != nil {
		k = st.key(&r.Claim.Key)
	}
	holder, waiter := holderAndWaiter(k)
	result := st.Book.Enqueue(r, k)
	st.save(k, holder, waiter)
	return result
}

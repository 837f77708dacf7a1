package memstore

import (
	"context"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Finish ends runs.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	results := make([]onceq.FinishResult, len(r.Runs))
	for i, f := range r.Runs {
		j := s.jobs[f.ID]
		var k *rules.Key
		if j != nil {
			k = st.key(j.Key)
		}
		results[i] = st.Book.Finish(j, k, f)
		st.save(k, j)
	}
	return results, nil
}

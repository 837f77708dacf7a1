package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceq/onceq"
)

// Recorder is a store that only records what it is asked to enqueue.
type Recorder struct {
	onceq.Store
	Rows []onceq.NewRow // all that it was asked to enqueue
}

// ErrRecorded is the answer of a [Recorder].
var ErrRecorded = errors.New("recorded, not sent")

// Enqueue records the rows and refuses them.
func (r *Recorder) Enqueue(_ context.Context, req onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	r.Rows = append(r.Rows, req.Rows...)
	return nil, ErrRecorded
}

// Place is the ID that the store wants for a job with this key.
func Place(store onceq.Store, id string, k *onceq.Key) string {
	if place := store.Traits().Place; place != nil {
		return place(id, k)
	}
	return id
}

// Row is what a client would send for this enqueue.
func Row(store onceq.Store, args onceq.Args, opts ...onceq.Option) (onceq.NewRow, error) {
	rec := &Recorder{Store: store}
	client, err := onceq.NewClient(rec, nil)
	if err != nil {
		return onceq.NewRow{}, err
	}
	defer client.Close()
	if _, err := client.Enqueue(context.Background(), args, opts...); !errors.Is(err, ErrRecorded) {
		return onceq.NewRow{}, fmt.Errorf("no row for it: %w", err)
	}
	return rec.Rows[0], nil
}

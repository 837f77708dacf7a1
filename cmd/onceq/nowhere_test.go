package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// A check may take long on a busy machine. Then the guard sweeps, and the
// client notes what it has counted, although nothing is kept.
func TestACheckThatTakesLongDoesNotCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := guard.New(nowhere{}, &guard.Config{Lease: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Acquire(t.Context(), onceq.JSON("k", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		client, err := onceq.NewClient(nowhere{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Enqueue(t.Context(), onceq.JSON("k", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
}

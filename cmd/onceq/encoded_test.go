package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// lock is a codec that the command does not have.
type lock struct{}

func (lock) Name() string { return "lock/1" }

func (lock) Encode(_ context.Context, _ string, args []byte) ([]byte, error) {
	return []byte("\x00\xff not for people"), nil
}

func (lock) Decode(_ context.Context, _ string, code []byte) ([]byte, error) { return code, nil }

func TestJobShowNamesTheCodecOfEncodedArgs(t *testing.T) {
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client, err := onceq.NewClient(store, &onceq.Config{Codec: lock{}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Enqueue(t.Context(), onceq.JSON("mail", []byte(`{"to":"ada"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, fact := range (&app{}).jobFacts(r.Job, nil, nil, time.Now()) {
		if fact[0] == "args" {
			if !strings.HasPrefix(fact[1], "encoded by lock/1 (") || strings.Contains(fact[1], "people") {
				t.Errorf("args: %s", fact[1])
			}
			return
		}
	}
	t.Error("nothing is said of the args")
}

package onceq_test

import (
	"context"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/reserved"
)

func TestNamesOfOnceqsOwnAreRefused(t *testing.T) {
	for field, try := range map[string]func() *onceq.InvalidError{
		"queue": func() *onceq.InvalidError {
			return refused(t, nil, onceq.JSON("k", []byte(`1`)), onceq.Queue("onceq.guard/x"))
		},
		"kind": func() *onceq.InvalidError { return refused(t, nil, onceq.JSON("onceq.periodic", []byte(`1`))) },
	} {
		if err := try(); err.Field != field || !strings.Contains(err.Rule, `begin with "onceq."`) {
			t.Errorf("want the %s refused, got %v", field, err)
		}
	}
	for _, name := range []string{".", ".."} {
		if err := refused(t, nil, onceq.JSON("k", nil), onceq.Queue(name)); err.Field != "queue" {
			t.Errorf("want the queue %q refused, got %v", name, err)
		}
	}
	for _, name := range []string{"onceq", "onceq-mail", "my.onceq.", "...", ".a"} {
		enqueued(t, nil, onceq.JSON(name, []byte(`1`)), onceq.Queue(name))
	}
	row := enqueued(t, nil, onceq.JSON("onceq.x", []byte(`1`)), onceq.Queue("onceq.x"), reserved.Allow.(onceq.Option))
	if row.Queue != "onceq.x" || row.Kind != "onceq.x" {
		t.Errorf("a package of this module got %s/%s", row.Queue, row.Kind)
	}
	for _, name := range []string{"onceq.x", ".", ".."} {
		queues := map[string]onceq.QueueConfig{name: {Concurrency: 1}}
		if _, err := onceq.NewWorker(memstore.New(nil), &onceq.WorkerConfig{Queues: queues}); err == nil {
			t.Errorf("a worker serves the queue %q", name)
		}
	}
	w, err := onceq.NewWorker(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a handler of a kind of onceq's own was registered")
		}
	}()
	w.HandleKind("onceq.x", func(context.Context, *onceq.JobRow) error { return nil })
}

func TestATokenNeedsAnIDAndIsNotZero(t *testing.T) {
	args, mine := onceq.JSON("k", []byte(`1`)), onceq.Token([16]byte{1})
	for _, opts := range [][]onceq.Option{{mine}, {onceq.ID("a"), onceq.Token([16]byte{})}} {
		if err := refused(t, nil, args, opts...); err.Field != "Token" {
			t.Errorf("want the token refused, got %v", err)
		}
	}
	if _, err := onceq.NewClient(memstore.New(nil), &onceq.Config{Defaults: []onceq.Option{mine}}); err == nil {
		t.Error("a token for every job was accepted")
	}
	if row := enqueued(t, nil, args, onceq.ID("a"), mine); row.Nonce != [16]byte{1} {
		t.Errorf("the token is %x", row.Nonce)
	}
}

func TestAPreparedRowIsNotMemoryOfTheCaller(t *testing.T) {
	client, err := onceq.NewClient(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, tags := []byte(`{"a":1}`), []string{"x"}
	row, err := client.Prepare(onceq.JSON("k", raw), onceq.Tags(tags...))
	if err != nil {
		t.Fatal(err)
	}
	raw[0], tags[0] = '!', "!"
	if string(row.Args) != `{"a":1}` || row.Tags[0] != "x" || row.ID == "" || row.Nonce == [16]byte{} {
		t.Errorf("the row is %+v", row)
	}
	if _, err := client.Prepare(onceq.JSON("k", raw)); err == nil {
		t.Error("args that are not JSON were prepared")
	}
}

package onceq_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

func TestANilContextIsRefusedByEveryCall(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	var none context.Context
	jobs := func(seq iter.Seq2[*onceq.JobRow, error]) (err error) {
		for _, err = range seq {
		}
		return err
	}
	all := onceq.JobFilter{All: true}
	for name, call := range map[string]func() error{
		"Enqueue":     func() error { _, err := c.Enqueue(none, mail{}); return err },
		"EnqueueMany": func() error { _, err := c.EnqueueMany(none, twoMails); return err },
		"WithTx":      func() error { _, err := c.WithTx(inTx{newFlaky()}).Enqueue(none, mail{}); return err },
		"WithTx many": func() error { _, err := c.WithTx(inTx{newFlaky()}).EnqueueMany(none, twoMails); return err },
		"Explain":     func() error { _, err := c.Explain(none, mail{}); return err },
		"Job":         func() error { _, err := c.Job(none, "a"); return err },
		"Jobs":        func() error { return jobs(c.Jobs(none, all)) },
		"Cancel":      func() error { _, err := c.Cancel(none, "a"); return err },
		"Retry":       func() error { _, err := c.Retry(none, "a"); return err },
		"RunNow":      func() error { _, err := c.RunNow(none, "a"); return err },
		"Delete":      func() error { return c.Delete(none, "a") },
		"CancelAll":   func() error { _, err := c.CancelAll(none, all); return err },
		"Key":         func() error { _, err := c.Key(none, onceq.Key{}); return err },
		"ReleaseKey":  func() error { return c.ReleaseKey(none, onceq.Key{}) },
		"Queues":      func() error { _, err := c.Queues(none); return err },
		"Pause":       func() error { return c.Pause(none, "a") },
		"Resume":      func() error { return c.Resume(none, "a") },
		"Doctor":      func() error { _, err := c.Doctor(none, nil); return err },
		"Keys": func() (err error) {
			for _, err = range c.Keys(none, onceq.KeyFilter{}) {
			}
			return err
		},
	} {
		var invalid *onceq.InvalidError
		if err := call(); !errors.As(err, &invalid) || invalid.Field != "context" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPauseOfAQueueThatNobodyUsesIsWarnedOf(t *testing.T) {
	var log bytes.Buffer
	store := memstore.New(nil)
	c := clientOf(t, store, &onceq.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if _, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Queue("default")); err != nil {
		t.Fatal(err)
	}
	pause := func(queue, want string) {
		t.Helper()
		log.Reset()
		if err := c.Pause(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: the log says %q, want %q", queue, got, want)
		}
	}
	pause("default", "")
	pause("defualt", "queue=defualt")
	if !strings.Contains(log.String(), "default") || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("the log says %q: want a warning that names the queues there are", &log)
	}
	pause("defualt", "") // it is known now: it is paused
	queues, err := c.Queues(t.Context())
	if err != nil || len(queues) != 2 || !queues[0].Paused || !queues[1].Paused {
		t.Errorf("%+v, %v", queues, err)
	}
}

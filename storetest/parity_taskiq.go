package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// logbook is where a client logs to.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// with makes the world's client one with this configuration.
func with(config onceq.Config, run func(w *world)) func(*world) {
	return func(w *world) {
		w.client.Close()
		w.client = w.clientOf(w.Store, &config)
		run(w)
	}
}

// byDefault are the defaults of taskiq-deduplication: its fingerprint, and
// five minutes; then more.
func byDefault(more ...onceq.Option) []onceq.Option {
	return append([]onceq.Option{onceq.Unique{By: onceq.ByKind | onceq.ByArgs, TTL: 5 * minute}}, more...)
}

// parityTaskiq: what taskiq-deduplication does is expressible, and each
// deliberate difference is one. The rows are those of docs/coming-from.md.
var parityTaskiq = []scenario{
	{"default_deduplication_and_default_ttl", with(onceq.Config{Defaults: byDefault(reject)}, func(w *world) {
		j := w.insert(task(1))
		w.enqueue(onceq.Rejected, task(1))
		w.enqueue(onceq.Rejected, task(1), onceq.Queue("other")) // a fingerprint of the name and the args
		w.insert(task(2))
		w.insert(task(1), onceq.NotUnique) // opted out
		w.after(5 * minute)
		w.free(j)
		w.insert(task(1))
	})},
	{"default_deduplication_false", with(onceq.Config{Defaults: byDefault(reject, onceq.NotUnique)}, func(w *world) {
		w.insert(task(1))
		w.insert(task(1))
		j := w.insert(task(1), onceq.Unique{}) // opted in, and the defaults count
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(5*minute))
		w.enqueue(onceq.Rejected, task(1), onceq.Unique{}, onceq.Queue("other"))
	})},
	{"reset_unique_forgets_the_defaults", with(onceq.Config{Defaults: byDefault(reject)}, func(w *world) {
		w.insert(task(1))
		j := w.insert(task(1), onceq.ResetUnique, onceq.Unique{}) // another key: its queue counts
		w.sameTime("frees at", w.holds(j).FreesAt, time.Time{})
		w.insert(task(1), onceq.ResetUnique)
	})},
	{"labels_per_task_and_per_call", with(onceq.Config{Kinds: map[string][]onceq.Option{
		"mail": {onceq.Unique{TTL: minute, Fields: []string{"to"}}},
		"task": {onceq.UniqueKey("by kind")},
	}}, func(w *world) {
		w.insert(mail{To: "a", Body: "1"})
		w.enqueue(onceq.Skipped, mail{To: "a", Body: "2"})
		w.insert(mail{To: "a", Body: "2"}, onceq.NotUnique)
		j := w.insert(mail{To: "b"}, onceq.Unique{TTL: time.Hour})
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
		w.insert(task(1))
		w.enqueue(onceq.Skipped, task(2))
		w.insert(task(3), onceq.UniqueKey("at the call"))
	})},
	{"difference_a_ttl_alone_opts_in", with(onceq.Config{Defaults: byDefault(reject, onceq.NotUnique)}, func(w *world) {
		j := w.insert(task(1), onceq.Unique{TTL: minute})
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(minute))
		w.enqueue(onceq.Rejected, task(1), onceq.Unique{TTL: minute})
	})},
	{"difference_of_a_key_and_fields_the_later_level_counts", func(w *world) {
		fields, own := onceq.Unique{Fields: []string{"to"}}, onceq.UniqueKey("own")
		for i, levels := range []struct {
			defaults, kind, call []onceq.Option
			byKey                bool
		}{
			{call: []onceq.Option{own}, kind: []onceq.Option{fields}, byKey: true},
			{call: []onceq.Option{own}, defaults: []onceq.Option{fields}, byKey: true},
			{kind: []onceq.Option{own}, defaults: []onceq.Option{fields}, byKey: true},
			{call: []onceq.Option{fields}, kind: []onceq.Option{own}},
			{call: []onceq.Option{fields}, defaults: []onceq.Option{own}},
			{kind: []onceq.Option{fields}, defaults: []onceq.Option{own}},
		} {
			c := w.clientOf(w.Store, &onceq.Config{Defaults: levels.defaults,
				Kinds: map[string][]onceq.Option{"mail": levels.kind}})
			var got []onceq.Outcome
			for _, m := range []mail{{To: "a", Body: "1"}, {To: "b", Body: "1"}, {To: "a", Body: "2"}} {
				r, err := c.Enqueue(w.ctx, m, levels.call...)
				w.must(err)
				got = append(got, r.Outcome)
			}
			want := []onceq.Outcome{onceq.Inserted, onceq.Inserted, onceq.Skipped}
			if levels.byKey {
				want = []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Skipped}
			}
			equal(w, fmt.Sprint("outcomes of ", i), fmt.Sprint(got), fmt.Sprint(want))
			c.Close()
			for _, j := range w.jobs() {
				w.remove(j.ID)
			}
		}
		_, err := w.client.Enqueue(w.ctx, mail{To: "a"}, fields, own) // on one level it cannot be told which is meant
		w.refused(err)
	}},
	{"exactly_as_there", with(
		onceq.Config{Defaults: append(byDefault(reject), onceq.Unique{FromEnqueue: true}, onceq.MaxAttempts(1))},
		func(w *world) {
			j := w.insert(task(1), onceq.Delay(time.Hour)) // a lock that is taken at the dispatch
			w.sameTime("frees at", w.holds(j).FreesAt, start.Add(5*minute))
			w.enqueue(onceq.Rejected, task(1))
			w.after(5 * minute)
			w.free(j)
			failed := w.insert(task(1))
			w.ends(w.starts(failed.ID), onceq.Finish{State: onceq.Discarded, Error: "it failed"}, onceq.Discarded)
			w.free(failed) // a failure is the end, and frees it
			w.insert(task(1))
		})},
	{"two_prefixes_of_keys_over_one_queue", func(w *world) {
		w.insert(task(1), onceq.UniqueKey("shop:welcome"))
		w.enqueue(onceq.Skipped, task(2), onceq.UniqueKey("shop:welcome"))
		w.insert(task(1), onceq.UniqueKey("blog:welcome"))
	}},
	{"duplicate_task_error_names_the_holder", func(w *world) {
		logged := &logbook{}
		c := w.clientOf(w.Store, &onceq.Config{DuplicateLevel: slog.LevelWarn,
			Logger: slog.New(slog.NewTextHandler(logged, nil))})
		defer c.Close()
		j := w.insert(task(1), key)
		_, err := c.Enqueue(w.ctx, task(2), key, reject)
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) {
			w.Fatalf("error %v", err)
		}
		equal(w, "error", line(dup.Kind, dup.Queue, dup.Key == *j.Key, dup.Holder == j.ID, dup.State),
			"task default true true available")
		for _, words := range []string{"level=WARN", j.ID, "rejected", "holder=", `args_differ=true`} {
			if !strings.Contains(logged.String(), words) {
				w.Errorf("the log does not say %q: %s", words, logged)
			}
		}
	}},
	{"released_on_completion_or_failure_and_kept_during_long_runs", func(w *world) {
		for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard} {
			j := w.insert(task(1), key)
			run := w.starts(j.ID)
			w.after(30 * 24 * time.Hour) // no heartbeat keeps it, and no clock takes it
			w.holds(j)
			w.enqueue(onceq.Rejected, task(2), key, reject)
			end(run)
			w.free(j)
		}
	}},
	{"difference_a_failed_attempt_that_will_be_retried_keeps_the_key", func(w *world) {
		j := w.insert(task(1), key, reject)
		w.fail(w.start(), minute)
		w.holds(j)
		w.enqueue(onceq.Rejected, task(2), key, reject)
		w.after(minute)
		w.complete(w.starts(j.ID)) // and is not refused by its own key
	}},
	{"difference_args_that_cannot_be_compared_are_an_error", func(w *world) {
		_, err := w.client.Enqueue(w.ctx, onceq.JSON("t", []byte(`{"a":1,"a":2}`)), onceq.Unique{})
		w.refused(err)
		_, err = w.client.Enqueue(w.ctx, onceq.Bytes("t", []byte{1}), onceq.Unique{Fields: []string{"a"}})
		w.refused(err)
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"difference_a_key_is_all_of_its_32_bytes", func(w *world) {
		// Two keys that agree in their first 31 bytes are two keys.
		row := onceq.NewRow(w.row(task(1), key, onceq.ID("a")))
		claim := *row.Claim
		claim.Key[31]++
		other := row
		other.ID, other.Claim = "b", &claim
		for _, r := range []onceq.NewRow{row, other} {
			results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{r}})
			w.must(err)
			equal(w, "outcome", results[0].Outcome, onceq.Inserted)
		}
		w.holds(w.job("a"))
		w.holds(w.job("b"))
	}},
}

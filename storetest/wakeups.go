package storetest

import (
	"context"
	"time"

	"github.com/onceq/onceq"
)

// woken waits for the store to name a queue, which must be this one or any.
func (w *world) woken(wake <-chan onceq.Wake, queue string) {
	w.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case got, ok := <-wake:
			if !ok {
				w.Fatal("the channel was closed before its context ended")
			}
			if !got.Stop && (got.Queue == queue || got.Queue == "") {
				return
			}
		case <-deadline:
			w.Fatalf("nothing woke queue %q", queue)
		}
	}
}

// quiet takes what was sent so far.
func quiet(wake <-chan onceq.Wake) {
	for {
		select {
		case <-wake:
		case <-time.After(20 * time.Millisecond):
			return
		}
	}
}

func waking(run func(w *world, wake <-chan onceq.Wake)) func(*world) {
	return func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil {
			w.Skip("this store does not wake anybody")
		}
		wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: []string{"default", "other"}})
		w.must(err)
		run(w, wake)
	}
}

// wakeups: Traits.Wake says when something may be due.
var wakeups = []scenario{
	{"an_enqueue_wakes_its_queue", waking(func(w *world, wake <-chan onceq.Wake) {
		w.insert(task(1), onceq.Queue("other"))
		w.woken(wake, "other")
	})},
	{"a_batch_wakes_its_queues", waking(func(w *world, wake <-chan onceq.Wake) {
		w.many(each(onceq.Inserted, 2), onceq.NewItem(task(1)), onceq.NewItem(task(2), onceq.Queue("other")))
		w.woken(wake, "other")
	})},
	{"a_waiter_that_is_let_go_wakes_its_queue", waking(func(w *world, wake <-chan onceq.Wake) {
		holder, _ := standing(w)
		quiet(wake)
		w.complete(holder)
		w.woken(wake, "default")
	})},
	{"a_failure_without_backoff_wakes_its_queue", waking(func(w *world, wake <-chan onceq.Wake) {
		w.insert(task(1))
		run := w.start()
		quiet(wake)
		w.fail(run, 0)
		w.woken(wake, "default")
	})},
	{"run_now_and_retry_and_resume_wake_the_queue", waking(func(w *world, wake <-chan onceq.Wake) {
		j := w.insert(task(1), onceq.Delay(time.Hour))
		quiet(wake)
		w.runNow(j.ID)
		w.woken(wake, "default")
		w.discard(w.start())
		quiet(wake)
		w.retry(j.ID)
		w.woken(wake, "default")
		w.must(w.client.Pause(w.ctx, "other"))
		w.insert(task(2), onceq.Queue("other"))
		quiet(wake)
		w.must(w.client.Resume(w.ctx, "other"))
		w.woken(wake, "other")
	})},
	{"a_replaced_run_time_wakes_the_queue", waking(func(w *world, wake <-chan onceq.Wake) {
		w.insert(task(1), key, onceq.Delay(time.Hour))
		quiet(wake)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}))
		w.woken(wake, "default")
		w.supersedeLater()
		quiet(wake)
		w.enqueue(onceq.Replaced, task(4), key, coalesce)
		w.woken(wake, "default")
	})},
	{"a_worker_that_takes_leave_wakes_the_queues_of_its_jobs", waking(func(w *world, wake <-chan onceq.Wake) {
		w.insert(task(1))
		w.start()
		quiet(wake)
		w.extend(onceq.ExtendRequest{Worker: "w"})
		w.woken(wake, "default")
	})},
	{"a_job_of_another_kind_wakes_nobody_in_this_process", func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil {
			w.Skip("this store does not wake anybody")
		}
		queues := []string{"default"}
		w.insert(task(-1)) // for the first job of a queue a store may wake everybody
		wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: queues, Kinds: []string{"other"}})
		w.must(err)
		all, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: queues})
		w.must(err)
		quiet(wake)
		for n := range 20 {
			w.insert(task(n))
		}
		w.many(each(onceq.Inserted, 2), onceq.NewItem(task(100)), onceq.NewItem(task(101)))
		w.woken(all, "default") // by then this listener would have been woken too
		select {
		case got := <-wake:
			w.Errorf("woken by jobs of a kind that was not asked for: %+v", got)
		default:
		}
		w.insert(onceq.JSON("other", []byte("{}")))
		w.woken(wake, "default")
	}},
	{"an_enqueue_through_another_handle_wakes_too", func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil || w.Open == nil {
			w.Skip("this store wakes nobody in other processes")
		}
		wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: []string{"default"}})
		w.must(err)
		quiet(wake)
		other := w.clientOf(w.Open(), nil)
		defer other.Close()
		_, err = other.Enqueue(w.ctx, task(1))
		w.must(err)
		w.woken(wake, "default")
	}},
	{"it_ends_with_its_context_and_never_blocks_the_store", func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil {
			w.Skip("this store does not wake anybody")
		}
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		wake, err := wakeOf(ctx, onceq.WakeRequest{Queues: []string{"default"}})
		w.must(err)
		for i := range 200 { // nobody listens
			w.insert(task(i))
		}
		cancel()
		deadline := time.After(5 * time.Second)
		for open := true; open; {
			select {
			case _, open = <-wake:
			case <-deadline:
				w.Fatal("the channel was not closed with its context")
			}
		}
		w.insert(task(1))
	}},
}

// supersedeLater puts a later job in the holder's place.
func (w *world) supersedeLater() {
	w.Helper()
	w.enqueue(onceq.Superseded, task(3), key, supersede, onceq.Delay(time.Hour))
}

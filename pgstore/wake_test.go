package pgstore_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
)

// lockedBuilder collects log lines.
type lockedBuilder struct {
	sync.Mutex
	strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Builder.Write(p)
}

func (b *lockedBuilder) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Builder.String()
}

func (b *lockedBuilder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// listening waits until a store hears what others say, and empties its channel.
func (h *hand) listening(wake <-chan onceq.Wake) {
	h.Helper()
	for { // once it hears, it says that anything may have been missed
		select {
		case q := <-wake:
			if q.Queue == "" {
				return
			}
		case <-time.After(20 * time.Second):
			h.Fatal("it does not listen")
		}
	}
}

func woken(t *testing.T, wake <-chan onceq.Wake, want string) {
	t.Helper()
	for {
		select {
		case q := <-wake:
			if q.Queue == want {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not woken for %q", want)
		}
	}
}

func TestOtherProcessesAreWokenWhenATransactionCommitsAndNotBefore(t *testing.T) {
	h := borrowHand(t)
	other := h.open(t)
	wake, err := other.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default", "mail"}})
	h.must(err)
	h.listening(wake)

	h.enqueue(onceq.Inserted, task(1), onceq.Queue("mail"))
	woken(t, wake, "mail")
	h.enqueue(onceq.Inserted, task(1), onceq.Queue("of nobody"))

	tx, inTx := h.begin(pgx.TxOptions{})
	_, err = inTx.Enqueue(h.ctx, task(2))
	h.must(err)
	select {
	case q := <-wake:
		t.Errorf("woken for %q before the commit", q.Queue)
	case <-time.After(100 * time.Millisecond):
	}
	h.must(tx.Commit(h.ctx))
	woken(t, wake, "default")
}

func TestALateRunTimeAndAWaiterThatIsLetGoWakeToo(t *testing.T) {
	h := borrowHand(t)
	h.enqueue(onceq.Inserted, task(1), aKey, coalesce)
	running := h.start()
	h.enqueue(onceq.Coalesced, task(2), aKey, coalesce)
	wake, err := h.store.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default"}})
	h.must(err)
	h.must(h.finish(h.ctx, running))
	woken(t, wake, "default")
}

func TestAListenerReconnectsByItself(t *testing.T) {
	h := borrowHand(t)
	other := h.open(t)
	wake, err := other.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default"}})
	h.must(err)
	h.listening(wake)
	n := one[int](t, h.database, "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like "+
		"'listen \"onceq_%' and pid <> pg_backend_pid()")
	if n == 0 {
		t.Fatal("nobody listened")
	}
	h.listening(wake)
	h.enqueue(onceq.Inserted, task(1))
	woken(t, wake, "default")
}

func TestNotificationsAreFewerThanEnqueues(t *testing.T) {
	h := borrowHand(t)
	other := h.open(t)
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	wake, err := other.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
	h.must(err)
	h.listening(wake)
	began := time.Now()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				h.enqueue(onceq.Inserted, task(1))
			}
		})
	}
	done := make(chan int)
	go func() {
		n := 0
		for range wake {
			n++
		}
		done <- n
	}()
	all.Wait()
	took := time.Since(began)
	time.Sleep(50 * time.Millisecond)
	cancel()
	if n, most := <-done, int(took/(5*time.Millisecond))+10; n == 0 || n > most {
		t.Errorf("%d notifications of 800 enqueues in %v, want at most %d", n, took, most)
	}
}

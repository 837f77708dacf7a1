package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
	"github.com/onceq/onceq/storeurl"
)

// roles are what this test binary does when it is started by a test, as a
// process of its own.
var roles = map[string]func(context.Context, onceq.Store, *ledger) error{
	"producer": produce, "worker": work, "late worker": workLate, "batches": produceBatches, "rivals": rival,
	"duplicates": enqueueTwice,
}

func TestMain(m *testing.M) {
	role := os.Getenv("ONCEQ_ROLE")
	if role == "" {
		code := m.Run()
		for _, end := range atTheEnd {
			end()
		}
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := play(ctx, role); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
}

func play(ctx context.Context, role string) error {
	store, err := storeurl.Open(ctx, os.Getenv("ONCEQ_STORE"))
	// it may be down: a supervisor would start this program again
	for began := time.Now(); err != nil && time.Since(began) < time.Minute; {
		if ctx.Err() != nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
		store, err = storeurl.Open(ctx, os.Getenv("ONCEQ_STORE"))
	}
	if err != nil {
		return err
	}
	defer store.Close()
	l, err := openLedger(os.Getenv("ONCEQ_LEDGER"), role)
	if err != nil {
		return err
	}
	return roles[role](ctx, store, l)
}

// stage is a store, a ledger, and the processes that use them.
type stage struct {
	t           *testing.T
	url, ledger string
	lossy       string // the store through a lossy network, for every second process; "" = there is none
	old         string // the program of those whose role begins with "old"

	mu    sync.Mutex
	procs map[*proc]bool
	died  map[int]time.Time // when a process was seen to be gone
}

type proc struct {
	role string
	cmd  *exec.Cmd
	errs *bytes.Buffer
	done chan struct{}
}

func newStage(t *testing.T, url string) *stage {
	s := &stage{t: t, url: url, ledger: t.TempDir(), procs: map[*proc]bool{}, died: map[int]time.Time{}}
	t.Cleanup(func() { s.killAll() })
	return s
}

// start starts a process in a role.
func (s *stage) start(role string) *proc {
	s.t.Helper()
	p := &proc{role: role, cmd: exec.Command(os.Args[0]), errs: &bytes.Buffer{}, done: make(chan struct{})}
	if p.old() {
		p.cmd = exec.Command(s.old)
	}
	url := s.url
	if s.lossy != "" && rand.IntN(2) == 0 {
		url = s.lossy
	}
	p.cmd.Env = append(os.Environ(), "ONCEQ_ROLE="+strings.TrimPrefix(role, "old "), "ONCEQ_STORE="+url,
		"ONCEQ_LEDGER="+s.ledger, "GORACE=exitcode=66 atexit_sleep_ms=0")
	p.cmd.Stderr = p.errs
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.procs[p] = true
	s.mu.Unlock()
	go func() {
		err := p.cmd.Wait()
		s.mu.Lock()
		delete(s.procs, p)
		s.died[p.cmd.Process.Pid] = time.Now()
		s.mu.Unlock()
		if code := p.cmd.ProcessState.ExitCode(); code > 0 && p.old() { // its errors are known
			s.t.Logf("%s %d: %v\n%s", role, p.cmd.Process.Pid, err, last(p.errs.String()))
		} else if code > 0 {
			s.t.Errorf("%s %d: %v\n%s", role, p.cmd.Process.Pid, err, p.errs)
		}
		close(p.done)
	}()
	return p
}

// old reports whether it is a program of the first version.
func (p *proc) old() bool { return strings.HasPrefix(p.role, "old ") }

// last is the end of a text.
func last(text string) string { return text[max(0, len(text)-500):] }

// kill is kill -9.
func (p *proc) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// end asks a process to end, and waits.
func (p *proc) end() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

func (s *stage) all(role string) (found []*proc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.procs {
		if role == "" || p.role == role {
			found = append(found, p)
		}
	}
	return found
}

func (s *stage) killAll() {
	for _, p := range s.all("") {
		p.kill()
	}
}

// job is what all jobs of these tests are.
type job struct {
	Key   int   `json:"key"`
	Stamp int64 `json:"stamp"` // when the enqueue was called
	Load  int   `json:"load"`
}

func (job) Kind() string { return "job" }

// late is a kind that only some workers know.
type late job

func (late) Kind() string { return "late" }

const (
	plainKeys    = 8   // keys 0 … 7: held until finished
	debounceKeys = 2   // keys 8 and 9: held until started
	lateKeys     = 100 // keys 100 and up: of jobs of the kind late, held until finished
)

// produce enqueues under random policies until it is told to end.
func produce(ctx context.Context, store onceq.Store, l *ledger) error {
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		switch n := rand.IntN(100); {
		case n < 70:
			items, lines := []onceq.Item{}, []line{}
			add(&items, &lines)
			r, err := client.Enqueue(ctx, items[0].Args, items[0].Options...)
			if err := acknowledge(l, lines, []onceq.Receipt{r}, err); err != nil && ctx.Err() == nil {
				return err
			}
		case n < 85:
			items, lines := []onceq.Item{}, []line{}
			for range 1 + rand.IntN(20) {
				add(&items, &lines)
			}
			receipts, err := client.EnqueueMany(ctx, items)
			if err := acknowledge(l, lines, receipts, err); err != nil && ctx.Err() == nil {
				return err
			}
		case n < 92:
			if err := produceInTx(ctx, client, store, l); err != nil && ctx.Err() == nil {
				return err
			}
		default:
			operate(ctx, client)
		}
		time.Sleep(rand.N(8 * time.Millisecond)) // the rate of the load
	}
	return nil
}

// add adds one enqueue under a random policy.
func add(items *[]onceq.Item, lines *[]line) {
	j := job{Key: rand.IntN(plainKeys + debounceKeys), Stamp: time.Now().UnixNano(), Load: rand.IntN(1000)}
	opts := []onceq.Option{onceq.Unique{Fields: []string{"key"}}, onceq.MaxAttempts(8),
		onceq.Timeout(150 * time.Millisecond), onceq.Priority(rand.IntN(10))}
	var policy onceq.ConflictPolicy
	if j.Key >= plainKeys {
		policy = onceq.Debounce{MaxWait: 300 * time.Millisecond}
		opts = append(opts, onceq.Delay(50*time.Millisecond))
	} else {
		policy = []onceq.ConflictPolicy{onceq.Skip, onceq.Reject, onceq.Coalesce, onceq.Coalesce, onceq.Supersede,
			onceq.Replace{Args: true, RunAt: true, Priority: true},
			onceq.Replace{Args: true, Only: []onceq.State{onceq.Scheduled}}}[rand.IntN(7)]
		if rand.IntN(3) == 0 {
			opts = append(opts, onceq.Delay(time.Millisecond+rand.N(100*time.Millisecond)))
		}
	}
	var args onceq.Args = j
	// in a queue of its own, that programs of the first version do not work for
	if j.Key < plainKeys && rand.IntN(5) == 0 {
		j.Key += lateKeys
		args, opts = late(j), append(opts, onceq.Queue("late"))
	}
	*items = append(*items, onceq.NewItem(args, append(opts, onceq.OnConflict(policy))...))
	*lines = append(*lines, line{What: "ack", Key: j.Key, Policy: policy.String(), Called: j.Stamp})
}

// acknowledge writes down what the store answered for sure. A lost answer
// is written down by nobody: both outcomes are right.
func acknowledge(l *ledger, lines []line, receipts []onceq.Receipt, err error) error {
	if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
		if errors.Is(err, onceq.ErrUncertain) {
			return nil
		}
		var refused *onceq.InvalidError
		if errors.As(err, &refused) {
			return err
		}
		for _, n := range lines {
			n.What = "failed"
			l.note(n)
		}
		return nil
	}
	for i, r := range receipts {
		lines[i].Job, lines[i].Outcome = r.Job.ID, r.Outcome
		l.note(lines[i])
	}
	return nil
}

// produceInTx enqueues in a transaction of the caller's, where the store
// has those, and commits or rolls back.
func produceInTx(ctx context.Context, client *onceq.Client, store onceq.Store, l *ledger) error {
	s, ok := store.(*sqlitestore.Store)
	if !ok {
		return nil
	}
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil // its disk may be full
	}
	defer tx.Rollback()
	var items []onceq.Item
	var lines []line
	for range 1 + rand.IntN(3) {
		add(&items, &lines)
	}
	receipts, err := client.WithTx(s.Tx(tx)).EnqueueMany(ctx, items)
	if err == nil && rand.IntN(3) == 0 {
		err = errors.New("rolled back on purpose")
	}
	if err != nil {
		tx.Rollback()
		return acknowledge(l, lines, nil, err)
	}
	if err := tx.Commit(); err != nil {
		return nil // whether it happened is uncertain
	}
	return acknowledge(l, lines, receipts, nil)
}

// operate cancels or retries some job, as an operator would. It may have
// moved on, and the store may be down.
func operate(ctx context.Context, client *onceq.Client) {
	var last *onceq.JobRow
	for j := range client.Jobs(ctx, onceq.JobFilter{Limit: 1 + rand.IntN(20)}) {
		if j != nil {
			last = j
		}
	}
	if last == nil {
		return
	}
	switch rand.IntN(3) {
	case 0:
		client.Cancel(ctx, last.ID)
	case 1:
		client.Retry(ctx, last.ID)
	case 2:
		client.RunNow(ctx, last.ID)
	}
}

// work runs jobs of one kind that succeed, fail, snooze, hang and panic;
// jobs of the other kind wait for somebody else.
func work(ctx context.Context, store onceq.Store, l *ledger) error {
	worker, err := newWorker(store)
	if err != nil {
		return err
	}
	onceq.Handle(worker, func(ctx context.Context, j *onceq.Job[job]) error { return run(ctx, l, j.JobRow, j.Args) })
	return worker.Run(ctx)
}

// workLate runs jobs of both kinds.
func workLate(ctx context.Context, store onceq.Store, l *ledger) error {
	worker, err := newWorker(store)
	if err != nil {
		return err
	}
	onceq.Handle(worker, func(ctx context.Context, j *onceq.Job[job]) error { return run(ctx, l, j.JobRow, j.Args) })
	onceq.Handle(worker, func(ctx context.Context, j *onceq.Job[late]) error {
		return run(ctx, l, j.JobRow, job(j.Args))
	})
	return worker.Run(ctx)
}

func newWorker(store onceq.Store) (*onceq.Worker, error) {
	return onceq.NewWorker(store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 8}, "late": {Concurrency: 4}},
		Lease:  3 * time.Second, PollInterval: 200 * time.Millisecond,
		Retry:  func(*onceq.JobRow, error) time.Duration { return rand.N(50 * time.Millisecond) },
		Logger: slog.New(slog.DiscardHandler),
	})
}

func run(ctx context.Context, l *ledger, j *onceq.JobRow, args job) error {
	l.note(line{What: "start", Key: args.Key, Job: j.ID, Run: j.Run, Stamp: args.Stamp})
	defer l.note(line{What: "end", Key: args.Key, Job: j.ID, Run: j.Run})
	switch n := rand.IntN(100); {
	case n < 10:
		return errors.New("failed on purpose")
	case n < 15:
		return onceq.Snooze(rand.N(30 * time.Millisecond))
	case n < 20:
		<-ctx.Done() // until its timeout
		return ctx.Err()
	case n < 22:
		panic("on purpose")
	case n < 24:
		return onceq.Discard(errors.New("on purpose"))
	case n < 26:
		return onceq.Cancel(errors.New("on purpose"))
	}
	select {
	case <-time.After(rand.N(10 * time.Millisecond)):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// produceBatches enqueues batches of unique jobs, each batch more than once.
func produceBatches(ctx context.Context, store onceq.Store, l *ledger) error {
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	for n := rand.IntN(1 << 30); ctx.Err() == nil; n += 50 {
		items := make([]onceq.Item, 50)
		lines := make([]line, 50)
		for i := range items {
			items[i] = onceq.NewItem(onceq.JSON("noted", json.RawMessage(strconv.Itoa(n+i))), onceq.Unique{},
				onceq.Queue("noted"))
			lines[i] = line{What: "ack", Called: time.Now().UnixNano()}
		}
		time.Sleep(5 * time.Millisecond) // the rate of the load
		for range 2 {
			receipts, err := client.EnqueueMany(ctx, items)
			if err := acknowledge(l, lines, receipts, err); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

// rival enqueues one key from many goroutines.
func rival(ctx context.Context, store onceq.Store, l *ledger) error {
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	var all sync.WaitGroup
	errs := make(chan error, 16)
	for range 16 {
		all.Go(func() {
			for round := range 20 {
				r, err := client.Enqueue(ctx, job{Key: round}, onceq.Unique{Fields: []string{"key"}})
				if err != nil {
					errs <- err
					return
				}
				l.note(line{What: "ack", Key: round, Job: r.Job.ID, Outcome: r.Outcome})
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// Package brokertest is a soak for the adapters of brokers: processes that send
// messages through a guard and handle them are killed, and so is the broker,
// again and again. At the end each message was handled, no two messages of a key
// were accepted beside each other, and no key is held.
package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/storeurl"
)

// Broker is a connection to a broker. It goes on by itself when the broker
// comes back.
type Broker interface {
	// Send sends a message of the kind [Kind] through the guard.
	Send(ctx context.Context, g *guard.Guard, body []byte, opts ...onceq.Option) error
	// Receive calls handle for each message, under its claim, until ctx ends, and
	// returns when what it has begun has ended. What handle returns goes to the
	// guard; a message whose handler failed comes again.
	Receive(ctx context.Context, g *guard.Guard, handle func(ctx context.Context, body []byte) error) error
	// Close ends the connection.
	Close()
}

// Kind is the kind of all messages, and the name of their queue.
const Kind = "mails"

// The processes of a soak are the test binary itself, with a role in its
// environment.
const (
	envRole   = "ONCEQ_BROKERTEST_ROLE"
	envStore  = "ONCEQ_BROKERTEST_STORE"
	envBroker = "ONCEQ_BROKERTEST_BROKER"
	envLedger = "ONCEQ_BROKERTEST_LEDGER"
)

// Roles is what the processes of a soak do. A TestMain asks for them first:
//
//	if brokertest.Roles(dial, nil) {
//		return
//	}
//
// broker is for brokers that are a part of the test binary, and may be nil: it
// runs one at this address, for ever.
func Roles(dial func(ctx context.Context, address string) (Broker, error), broker func(address, folder string) error,
) bool {
	role := os.Getenv(envRole)
	if role == "" {
		return false
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the test
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	if role == "broker" {
		err = broker(os.Getenv(envBroker), os.Getenv(envLedger))
	} else {
		err = play(ctx, role, dial)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	return true
}

// again repeats what fails while a server is down.
func again[T any](ctx context.Context, call func() (T, error)) (v T, err error) {
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if v, err = call(); err == nil || ctx.Err() != nil {
			break
		}
	}
	return v, err
}

func play(ctx context.Context, role string, dial func(context.Context, string) (Broker, error)) error {
	store, err := again(ctx, func() (onceq.Store, error) { return storeurl.Open(ctx, os.Getenv(envStore)) })
	if err != nil {
		return err
	}
	defer store.Close()
	g, err := NewGuard(store)
	if err != nil {
		return err
	}
	defer g.Close()
	broker, err := again(ctx, func() (Broker, error) { return dial(ctx, os.Getenv(envBroker)) })
	if err != nil {
		return err
	}
	defer broker.Close()
	l, err := openLedger(os.Getenv(envLedger), role)
	if err != nil {
		return err
	}
	if role == "consumer" {
		return broker.Receive(ctx, g, l.handle)
	}
	return produce(ctx, broker, g, l)
}

// Times of the guards of a soak. What is in doubt lapses soon, and everything
// else holds for a day, so a key that is left behind is seen.
const (
	inDoubt = 3 * time.Second
	lease   = 2 * time.Second
)

// NewGuard makes a guard as the processes of a soak have it.
func NewGuard(store onceq.Store) (*guard.Guard, error) {
	return guard.New(store, &guard.Config{InDoubt: inDoubt, Lease: lease, Logger: slog.New(slog.DiscardHandler)})
}

const keys = 12

// message is the body of all messages.
type message struct {
	Key int    `json:"key"`
	ID  string `json:"id"` // of the message, whatever its claim
}

func byKey() onceq.Option { return onceq.Unique{Fields: []string{"key"}} }

// produce sends messages until it is told to end. What may have been sent is
// sent again, as the docs say.
func produce(ctx context.Context, b Broker, g *guard.Guard, l *ledger) error {
	for n := 0; ctx.Err() == nil; n++ {
		m := message{Key: rand.IntN(keys), ID: fmt.Sprint(os.Getpid(), "-", n)}
		if err := send(ctx, b, g, l, m); err != nil {
			return err
		}
		time.Sleep(rand.N(15 * time.Millisecond)) // the rate of the load
	}
	return nil
}

func send(ctx context.Context, b Broker, g *guard.Guard, l *ledger, m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	l.note(fact{What: "send", Key: m.Key, ID: m.ID})
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), inDoubt)
	defer cancel()
	err = b.Send(limited, g, body, byKey())
	for errors.Is(err, onceq.ErrUncertain) && limited.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		err = b.Send(limited, g, body, byKey(), onceq.Resend(err))
	}
	var invalid *onceq.InvalidError
	switch {
	case err == nil:
		l.note(fact{What: "sent", Key: m.Key, ID: m.ID})
	case errors.Is(err, onceq.ErrDuplicate):
		l.note(fact{What: "refused", Key: m.Key, ID: m.ID})
	case errors.As(err, &invalid):
		return err
	default:
		l.note(fact{What: "failed", Key: m.Key, ID: m.ID, Error: err.Error()})
		time.Sleep(20 * time.Millisecond) // the broker or the store is down
	}
	return nil
}

// handle is the handler of all messages: it succeeds, fails, fails for good, or
// panics.
func (l *ledger) handle(ctx context.Context, body []byte) error {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	l.note(fact{What: "start", Key: m.Key, ID: m.ID})
	defer l.note(fact{What: "end", Key: m.Key, ID: m.ID})
	select {
	case <-time.After(rand.N(20 * time.Millisecond)):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch n := rand.IntN(100); {
	case n < 8:
		return errors.New("failed on purpose")
	case n < 10:
		panic("on purpose")
	case n < 12:
		l.note(fact{What: "done", Key: m.Key, ID: m.ID})
		return onceq.Discard(errors.New("on purpose"))
	}
	l.note(fact{What: "done", Key: m.Key, ID: m.ID})
	return nil
}

// fact is a line of the ledger. A process writes it with one system call, so
// that a kill leaves it whole or not there at all.
type fact struct {
	What  string `json:"what"` // "send", "sent", "refused", "failed"; "start", "done", "end"
	Key   int    `json:"key"`
	ID    string `json:"id"`
	PID   int    `json:"pid"`
	At    int64  `json:"at"` // nanoseconds by the clock of this host
	Error string `json:"error,omitempty"`
}

// ledger is what one process writes down.
type ledger struct{ file *os.File }

func openLedger(folder, name string) (*ledger, error) {
	f, err := os.CreateTemp(folder, name+"-*.jsonl")
	return &ledger{f}, err
}

func (l *ledger) note(f fact) {
	f.PID, f.At = os.Getpid(), time.Now().UnixNano()
	raw, err := json.Marshal(f)
	if err == nil {
		_, err = l.file.Write(append(raw, '\n'))
	}
	if err != nil {
		panic(err)
	}
}

// read reads what all processes wrote down.
func read(t testing.TB, folder string) (facts []fact) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			var f fact
			if err := json.Unmarshal(line, &f); err == nil { // else it is just being written
				facts = append(facts, f)
			}
		}
	}
	return facts
}

// proc is a process of a soak.
type proc struct {
	role string
	cmd  *exec.Cmd
	in   io.Closer
	errs bytes.Buffer
	done chan struct{}
}

func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *proc) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// crew are the processes of a soak.
type crew struct {
	t      testing.TB
	env    []string
	mu     sync.Mutex
	procs  map[*proc]bool
	killed map[int]time.Time // when a process was seen to be gone that was killed
}

func (c *crew) start(role string) *proc {
	c.t.Helper()
	p := &proc{role: role, cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), c.env...), envRole+"="+role, "GORACE=exitcode=66 atexit_sleep_ms=0")
	p.cmd.Stderr = &p.errs
	var err error
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.procs[p] = true
	c.mu.Unlock()
	go func() {
		err := p.cmd.Wait()
		c.mu.Lock()
		delete(c.procs, p)
		if p.cmd.ProcessState.ExitCode() < 0 {
			c.killed[p.cmd.Process.Pid] = time.Now()
		}
		c.mu.Unlock()
		if p.cmd.ProcessState.ExitCode() > 0 {
			c.t.Errorf("%s %d: %v\n%s", role, p.cmd.Process.Pid, err, p.errs.String())
		}
		close(p.done)
	}()
	return p
}

func (c *crew) all(role string) (found []*proc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.procs {
		if role == "" || p.role == role {
			found = append(found, p)
		}
	}
	return found
}

// Recover makes an error of a panic, as most brokers' libraries do.
func Recover(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

package sqlitestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// child is what a process that a test has started does.
func child(role, file string) int {
	if look, ok := strings.CutPrefix(role, "looks "); ok {
		if err := looks(look, file); err != nil {
			fmt.Println("error", err)
			return 1
		}
		return 0
	}
	s, err := Open(file, nil)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	defer s.Close()
	name := fmt.Sprint(role, os.Getpid())
	switch role {
	case "writes":
		err = writesUntilTold(s, name)
	case "mixes":
		err = mixes(s, name)
	case "acknowledges":
		err = acknowledges(s, name)
	case "obeys":
		err = obeys(s, name)
	}
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// process is a child as its parent sees it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, role, file string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "ONCEQ_TEST_CHILD="+role, "ONCEQ_TEST_FILE="+file)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

// says wants a line that begins with a word, and returns the rest.
func (p *process) says(t *testing.T, word string) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatal("the child ended:", p.out.Err())
	}
	rest, ok := strings.CutPrefix(p.out.Text(), word)
	if !ok {
		t.Fatalf("the child said %q, want %q", p.out.Text(), word)
	}
	return strings.TrimSpace(rest)
}

func (p *process) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		t.Fatal(err)
	}
}

// listen waits for a line from the parent.
func nextLine(in *bufio.Scanner) bool { return in.Scan() }

// writesUntilTold enqueues one job after another, and tells how many there
// were and how long the slowest took.
func writesUntilTold(s *Store, name string) error {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	nextLine(in)
	stop := make(chan struct{})
	go func() { nextLine(in); close(stop) }()
	var longest time.Duration
	for n := 0; ; n++ {
		select {
		case <-stop:
			fmt.Println("wrote", n, longest.Microseconds())
			return nil
		default:
		}
		begun := time.Now()
		if _, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsOf(fmt.Sprint(name, "-", n),
			1)}); err != nil {
			return err
		}
		longest = max(longest, time.Since(begun))
	}
}

func TestWritersOfFourProcessesTakeTurns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	var children []*process
	for range 4 {
		children = append(children, start(t, "writes", file))
	}
	for _, p := range children {
		p.says(t, "ready")
	}
	for _, p := range children {
		p.tell(t, "go")
	}
	<-time.After(2 * time.Second) // how long is measured, not waited for
	for _, p := range children {
		p.tell(t, "stop")
	}
	var counts []int
	var total, longest int
	for _, p := range children {
		var n, us int
		if _, err := fmt.Sscan(p.says(t, "wrote"), &n, &us); err != nil {
			t.Fatal(err)
		}
		counts, total, longest = append(counts, n), total+n, max(longest, us)
	}
	slowest := float64(slices.Min(counts)) / (float64(total) / 4)
	t.Logf("writes %v: the slowest has %.2f of the mean; longest wait "+
		"%v", counts, slowest, time.Duration(longest)*time.Microsecond)
	if slowest < 0.5 {
		t.Errorf("the slowest of four processes wrote %.2f of the mean, want at least 0.5", slowest)
	}
	// 150 ms where the machine has nothing else to do
	if longest := time.Duration(longest) * time.Microsecond; longest > time.Second {
		t.Errorf("a write waited for %v", longest)
	}
}

// mixes does a bit of everything in 16 goroutines.
func mixes(s *Store, name string) error {
	fmt.Println("ready")
	nextLine(bufio.NewScanner(os.Stdin))
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for g := range 16 {
		wg.Go(func() { errs <- mix(s, fmt.Sprint(name, "-", g)) })
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	if all == nil {
		fmt.Println("done")
	}
	return all
}

func mix(s *Store, name string) error {
	ctx := context.Background()
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: name, Lease: time.Minute}); err != nil {
		return err
	}
	for n := range 15 {
		rows := rowsOf("shared", 10) // keys that all processes fight for
		for i := range rows {
			rows[i].ID = fmt.Sprint(name, "-", n, "-", i)
		}
		results, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Job == nil || r.Outcome != onceq.Inserted && r.Conflict.Holder == "" {
				return fmt.Errorf("neither: %+v", r)
			}
		}
		if n%5 == 0 {
			tx, err := s.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := s.Tx(tx).Enqueue(ctx, rowsOf(fmt.Sprint(name, "-tx-", n), 1)); err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return err
			}
		}
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: name, No: int64(n),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 5}}})
		if err != nil {
			return err
		}
		var ends []onceq.Finish
		for _, j := range f.Jobs {
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: name, State: onceq.Completed})
		}
		done, err := s.Finish(ctx, onceq.FinishRequest{Runs: ends})
		if err != nil {
			return err
		}
		for _, d := range done {
			if d.Status != onceq.FinishDone {
				return fmt.Errorf("a finish had no effect: %+v", d)
			}
		}
		if _, err := s.Queues(ctx, onceq.QueuesRequest{}); err != nil {
			return err
		}
		if _, err := s.List(ctx, onceq.ListRequest{Limit: 20}); err != nil {
			return err
		}
		if _, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 10}); err != nil {
			return err
		}
	}
	return nil
}

func TestNobodyIsToldThatTheFileIsBusy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	var children []*process
	for range 4 {
		children = append(children, start(t, "mixes", file)) // they open it, and so make it, at once
	}
	for _, p := range children {
		p.says(t, "ready")
	}
	for _, p := range children {
		p.tell(t, "go")
	}
	for _, p := range children {
		p.says(t, "done")
	}
	if findings, err := opened(t, file).Check(context.Background()); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

// acknowledges enqueues for ever, and says what was acknowledged.
func acknowledges(s *Store, name string) error {
	for n := 0; ; n++ {
		results, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsOf(fmt.Sprint(name, "-", n),
			1+n%7)})
		if err != nil {
			return err
		}
		fmt.Println("ack", results[len(results)-1].Job.ID)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "jobs.db")
	var acked []string
	for round := range 8 {
		var children []*process
		for range 2 {
			children = append(children, start(t, "acknowledges", file))
		}
		for i, p := range children {
			for range 5 + 13*round + 7*i {
				acked = append(acked, p.says(t, "ack"))
			}
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for p.out.Scan() { // what it said before it died
				if id, ok := strings.CutPrefix(p.out.Text(), "ack "); ok {
					acked = append(acked, id)
				}
			}
			p.cmd.Wait()
		}
		s := opened(t, file)
		jobs, err := s.Get(ctx, acked)
		if err != nil {
			t.Fatal(err)
		}
		for i, j := range jobs {
			if j == nil {
				t.Fatalf("round %d: %s was acknowledged and is not there", round, acked[i])
			}
		}
		if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
			t.Fatal(findings, err)
		}
		s.Close()
	}
	t.Logf("%d acknowledged enqueues are there", len(acked))
}

// obeys enqueues a job for each line it is sent.
func obeys(s *Store, name string) error {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for n := 0; nextLine(in); n++ {
		row := rowsOf(name, n+1)[n:]
		if _, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: row}); err != nil {
			return err
		}
		fmt.Println("ack")
	}
	return nil
}

func TestAnotherProcessWakesUs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	file := filepath.Join(t.TempDir(), "jobs.db")
	s := opened(t, file)
	p := start(t, "obeys", file)
	p.says(t, "ready")
	wakes, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	for range 20 {
		p.tell(t, "go")
		p.says(t, "ack")
		committed := time.Now()
		if got := <-wakes; got.Queue != "default" {
			t.Fatal(got)
		}
		waits = append(waits, time.Since(committed))
	}
	slices.Sort(waits)
	t.Logf("woken %v after the acknowledgement (median; longest %v)", waits[len(waits)/2], waits[len(waits)-1])
	if waits[len(waits)/2] > 100*time.Millisecond {
		t.Errorf("woken after %v", waits[len(waits)/2])
	}
	cancel()
	for range wakes { // it ends with its context
	}
}

func TestWakeEndsWithTheStore(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	wakes, err := s.Wake(context.Background(), onceq.WakeRequest{Queues: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, s, rowsOf("a", 1))
	if got := <-wakes; got.Queue != "default" {
		t.Fatal(got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range wakes {
	}
	if err := s.Close(); !errors.Is(err, onceq.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := s.Wake(context.Background(), onceq.WakeRequest{Queues: nil}); !errors.Is(err, onceq.ErrClosed) {
		t.Fatal(err)
	}
}

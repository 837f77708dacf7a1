package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

// The story that the demo tells.
const (
	demoProducers = 4
	demoRounds    = 3 // times that each producer delivers the whole stream
	demoWorkers   = 3
	demoLease     = 1500 * time.Millisecond
	demoPatience  = time.Minute // on a slow machine
)

func newDemo(a *app) *cobra.Command {
	events := 400
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: processes, duplicates, a worker killed in the middle of a job",
		Long: `On a fresh temporary SQLite file, producer processes deliver the same stream
of events again and again, each in an order of its own; worker processes run
them; one worker is killed with SIGKILL in the middle of a job. Then
everything is counted and checked: each event is one job, each job is
completed, and every invariant holds. Exit code 1 if not. The file is left for
you to look at.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("store") {
				return usagef("demo makes a fresh store of its own: leave --store away")
			}
			return a.demo(c.Context(), events)
		},
	}
	c.Flags().IntVar(&events, "events", events, "")
	_ = c.Flags().MarkHidden("events") // the story is told with the number it has
	return c
}

// demo is one run of the demo.
type demo struct {
	a       *app
	events  int
	self    string
	store   *connection
	began   time.Time
	painted int // lines of the page on the terminal
	said    time.Time

	mu        sync.Mutex
	producers [demoProducers]produced
	workers   [demoWorkers]demoWorker
	victim    string // the job during which the worker was killed
	caught    int    // jobs that the killed worker had
	err       error
}

// produced is what a producer reports.
type produced struct {
	Offered    int `json:"offered"`
	Inserted   int `json:"inserted"`
	Duplicates int `json:"duplicates"`
}

type demoWorker struct {
	cmd     *exec.Cmd
	stop    io.Closer
	inHand  map[string]bool
	started int
	ended   int
	killed  bool
}

func (a *app) demo(ctx context.Context, events int) (err error) {
	ctx, cancel := signal.NotifyContext(ctx, stopSignals()...)
	defer cancel()
	ctx, cancelLate := context.WithTimeout(ctx, demoPatience)
	defer cancelLate()
	dir, err := os.MkdirTemp("", "onceq-demo-")
	if err != nil {
		return err
	}
	d := &demo{a: a, events: events, began: time.Now()}
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	a.store = "sqlite:" + filepath.Join(dir, "demo.db")
	if d.store, err = a.open(ctx, nil); err != nil {
		return err
	}
	defer func() {
		if closed := d.store.close(); err == nil {
			err = closed
		}
	}()
	if !a.json {
		a.printf("%d producer processes deliver the same %d events %d times each, every time in another order;\n%d "+
			"worker processes run them; one of these will be killed.\n\n",
			demoProducers, events, demoRounds, demoWorkers)
	}
	if err := d.perform(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted")
		}
		return fmt.Errorf("the demo did not get to its end: %w (its file: %s)", err, a.store)
	}
	v, err := d.judge(ctx)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(v)
	} else {
		d.clearPage()
		v.print(a)
	}
	if err == nil && len(v.Wrong) > 0 {
		return fmt.Errorf("the verdict is bad: %s", strings.Join(v.Wrong, "; "))
	}
	return err
}

// perform runs all processes until every event is a job and every job has
// ended.
func (d *demo) perform(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop() // kills what still runs
	for i := range demoWorkers {
		if err := d.startWorker(ctx, i, &all); err != nil {
			return err
		}
	}
	var producing sync.WaitGroup
	for i := range demoProducers {
		if err := d.startProducer(ctx, i, &producing); err != nil {
			return err
		}
	}
	fed := make(chan struct{})
	go func() { producing.Wait(); close(fed) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			d.page()
		case <-fed:
			due, running, err := pending(ctx, d.store.client, []string{"default"}, nil)
			if err != nil {
				return err
			}
			d.page()
			done = !due && !running && !d.retrying(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		if err := d.failed(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	for i := range d.workers {
		_ = d.workers[i].stop.Close() // ends it gently
	}
	d.mu.Unlock()
	all.Wait()
	return d.failed()
}

func (d *demo) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *demo) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
}

// retrying reports whether a job waits for its next attempt.
func (d *demo) retrying(ctx context.Context) bool {
	for _, err := range d.store.client.Jobs(ctx, onceq.JobFilter{States: []onceq.State{onceq.Retryable}, Limit: 1}) {
		return err == nil
	}
	return false
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.self, append([]string{"demo-part", "--store", d.a.store}, args...)...)
	cmd.Stderr = d.a.errOut
	ownGroup(cmd) // only the demo gets a Ctrl-C
	return cmd
}

// follow calls do for each line that a process prints. wait returns how the
// process ended.
func follow(cmd *exec.Cmd, do func(line string)) (wait func() error, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		for s := bufio.NewScanner(out); s.Scan(); {
			do(s.Text())
		}
		return cmd.Wait()
	}, nil
}

func (d *demo) startProducer(ctx context.Context, i int, all *sync.WaitGroup) error {
	wait, err := follow(d.command(ctx, "produce", fmt.Sprint(i), fmt.Sprint(d.events)), func(line string) {
		var p produced
		if _, err := fmt.Sscan(line, &p.Offered, &p.Inserted, &p.Duplicates); err == nil {
			d.mu.Lock()
			d.producers[i] = p
			d.mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	all.Go(func() {
		if err := wait(); err != nil && ctx.Err() == nil {
			d.fail(fmt.Errorf("producer %d: %w", i+1, err))
		}
	})
	return nil
}

func (d *demo) startWorker(ctx context.Context, i int, all *sync.WaitGroup) error {
	cmd := d.command(ctx, "work")
	stop, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	w := &d.workers[i]
	d.mu.Lock() // workers that have started look at all
	*w = demoWorker{cmd: cmd, stop: stop, inHand: map[string]bool{}}
	d.mu.Unlock()
	wait, err := follow(cmd, func(line string) {
		what, id, _ := strings.Cut(line, " ")
		d.mu.Lock()
		defer d.mu.Unlock()
		switch what {
		case "start":
			w.started++
			w.inHand[id] = true
			d.maybeKillLocked(i)
		case "end":
			w.ended++
			delete(w.inHand, id)
		}
	})
	if err != nil {
		return err
	}
	all.Go(func() {
		err := wait()
		d.mu.Lock()
		killed := w.killed
		if killed { // these jobs it had begun and not ended
			d.caught, d.victim = len(w.inHand), first(slices.Sorted(maps.Keys(w.inHand)))
		}
		d.mu.Unlock()
		if err != nil && !killed && ctx.Err() == nil {
			d.fail(fmt.Errorf("worker %d: %w", i+1, err))
		}
	})
	return nil
}

// maybeKillLocked kills the second worker at the start of a job, once a
// quarter of the events have run.
func (d *demo) maybeKillLocked(i int) {
	ended := 0
	for j := range d.workers {
		ended += d.workers[j].ended
	}
	if w := &d.workers[i]; i == 1 && !w.killed && ended >= d.events/4 {
		w.killed = w.cmd.Process.Kill() == nil // SIGKILL
	}
}

// page shows the numbers: again and again on a terminal, now and then
// elsewhere.
func (d *demo) page() {
	if d.a.json {
		return
	}
	d.mu.Lock()
	var p produced
	for _, one := range d.producers {
		p.Offered, p.Inserted, p.Duplicates = p.Offered+one.Offered, p.Inserted+one.Inserted,
			p.Duplicates+one.Duplicates
	}
	started, ended := 0, 0
	var workers []string
	for i, w := range d.workers {
		started, ended = started+w.started, ended+w.ended
		text := d.a.paint(green, fmt.Sprintf("%d runs", w.started))
		if w.killed {
			text = d.a.paint(red, fmt.Sprintf("killed with %s in hand", count(d.caught, "job")))
		}
		workers = append(workers, fmt.Sprintf("worker %d: %s", i+1, text))
	}
	d.mu.Unlock()
	if !isTerminal(d.a.out) || os.Getenv("TERM") == "dumb" {
		if time.Since(d.said) >= time.Second {
			d.said = time.Now()
			d.a.printf("%4.1fs  %s offered, %s inserted, %s answered, %s started\n", time.Since(d.began).Seconds(),
				count(p.Offered, "event"),
				thousands(p.Inserted), count(p.Duplicates, "duplicate"), count(started, "run"))
		}
		return
	}
	total := d.events * demoRounds * demoProducers
	lines := []string{
		fmt.Sprintf("  offered     %6s  %s of %s", thousands(p.Offered), d.bar(p.Offered, total), thousands(total)),
		fmt.Sprintf("  inserted    %6s  %s of %s events", thousands(p.Inserted), d.bar(p.Inserted, d.events),
			thousands(d.events)),
		fmt.Sprintf("  duplicates  %6s  answered with the job that was there", thousands(p.Duplicates)),
		fmt.Sprintf("  runs        %6s  %s ended", thousands(started), thousands(ended)),
		"  " + strings.Join(workers, " · "),
	}
	d.clearPage()
	d.a.printf("%s\n", strings.Join(lines, "\n"))
	d.painted = len(lines)
}

func (d *demo) bar(n, of int) string {
	const width = 24
	full := min(width, width*n/of)
	return d.a.paint(green, strings.Repeat("█", full)) + d.a.paint(dim, strings.Repeat("░", width-full))
}

func (d *demo) clearPage() {
	if d.painted > 0 {
		d.a.printf("\x1b[%dA\x1b[J", d.painted)
		d.painted = 0
	}
}

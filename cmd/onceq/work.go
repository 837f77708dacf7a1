package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

type work struct {
	exec     string
	queues   []string
	kinds    []string
	drain    bool
	timeout  time.Duration
	snooze   time.Duration
	lease    time.Duration
	shutdown time.Duration
}

func newWork(a *app) *cobra.Command {
	w := work{snooze: 30 * time.Second, lease: 30 * time.Second, shutdown: 20 * time.Second}
	c := &cobra.Command{
		Use:   "work --exec 'COMMAND'",
		Short: "Run jobs, one process each",
		Long: `Run jobs: for each one, sh -c 'COMMAND' with the job's args on standard input, and ONCEQ_ID, ONCEQ_KIND, ONCEQ_QUEUE, ONCEQ_ATTEMPT
(from 1) and ONCEQ_RUN in its environment (and ONCEQ_STORE, so that it can enqueue).

  exit code 0     the job is completed
  exit code 100   it is discarded: not worth another attempt
  exit code 75    it is snoozed: run again after --snooze, without spending an attempt
  any other       the attempt failed: it is retried with backoff, until --max-attempts of its enqueue; the end of standard
                  error is kept with the job (onceq job show)

A run whose job is cancelled, whose --timeout is over or whose lease is lost is stopped: SIGTERM to its process group, SIGKILL 5s later.

The first Ctrl-C (or SIGTERM, a closed terminal, an output that nobody reads any more) starts no more jobs and waits for those that run, up
to --shutdown-timeout; the second stops them and hands them back, to run again without having spent an attempt; the third does so with
SIGKILL. A run that fails after the first is handed back too: a service manager may have signalled its process together with the worker.

With --drain it ends by itself once no job of its queues (and --kinds) is due or running, here or on another worker. Jobs that are due
later, retries among them, are not waited for; nor is what is due in a paused queue.`,
		Example: `  onceq work --exec 'jq -r .to | xargs send-mail'
  onceq work --exec ./run.sh --queues default=10,mail=2 --drain`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if strings.TrimSpace(w.exec) == "" {
				return usagef("say what to run for each job: onceq work --exec 'COMMAND'")
			}
			return a.work(c.Context(), &w)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&w.exec, "exec", "", "the `COMMAND`, for sh -c")
	fs.StringSliceVar(&w.queues, "queues", []string{"default=10"}, "the queues to serve, and how many jobs of each run at once: `NAME=N,...`")
	fs.StringSliceVar(&w.kinds, "kinds", nil, "run only these `KINDS`")
	fs.BoolVar(&w.drain, "drain", false, "end when nothing is due or running")
	fs.Var(&span{&w.timeout}, "timeout", "stop a run that takes longer, and count it as failed (default none)")
	fs.Var(&span{&w.snooze}, "snooze", "how long exit code 75 puts a job off")
	fs.Var(&span{&w.lease}, "lease", "without a sign of life for this long, other workers take over")
	fs.Var(&span{&w.shutdown}, "shutdown-timeout", "how long a first Ctrl-C waits for jobs that run")
	return c
}

// span is a flag that is a length of time.
type span struct{ d *time.Duration }

func (s *span) String() string {
	if s.d == nil || *s.d == 0 {
		return ""
	}
	return short(*s.d)
}
func (s *span) Type() string { return "DURATION" }
func (s *span) Set(text string) (err error) {
	*s.d, err = parseDuration(text)
	return err
}

func parseQueues(list []string) (map[string]onceq.QueueConfig, error) {
	queues := map[string]onceq.QueueConfig{}
	for _, q := range list {
		name, digits, found := strings.Cut(q, "=")
		n := 10
		if found {
			var err error
			if n, err = strconv.Atoi(digits); err != nil || n < 1 {
				return nil, usagef("--queues %q: must be NAME=N, with N jobs at once, 1 or more", q)
			}
		}
		if _, twice := queues[name]; twice || name == "" {
			return nil, usagef("--queues %q: each queue needs a name, and is named once", q)
		}
		queues[name] = onceq.QueueConfig{Concurrency: n}
	}
	return queues, nil
}

func (a *app) work(ctx context.Context, w *work) (err error) {
	queues, err := parseQueues(w.queues)
	if err != nil {
		return err
	}
	atOnce := 0
	for _, q := range queues {
		atOnce += q.Concurrency
	}
	r := newRunner(a, w, atOnce > 1)
	config := &onceq.WorkerConfig{Queues: queues, Kinds: w.kinds, Lease: w.lease, ShutdownTimeout: w.shutdown, Logger: slog.New(&logLines{out: r.errOut})}
	if _, err := onceq.NewWorker(nowhere{}, config); err != nil {
		return usage(err) // before a file is made for it
	}
	s, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	config.Client = s.client
	worker, err := onceq.NewWorker(s.store, config)
	if err != nil {
		return err
	}
	worker.HandleAny(r.handle)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer r.heedStops(stop)()
	if w.drain {
		go func() {
			drained(ctx, s.client, slices.Sorted(maps.Keys(queues)), w.kinds, &r.running)
			stop()
		}()
	} else if isTerminal(a.errOut) {
		fmt.Fprintf(r.errOut, "onceq: running jobs of %s from %s; Ctrl-C ends it\n", strings.Join(w.queues, ", "), storeurl.Redacted(a.store))
	}
	began := time.Now()
	err = worker.Run(ctx)
	r.killAll()
	later := ""
	if w.drain && err == nil {
		later = left(context.WithoutCancel(ctx), s.client, queues)
	}
	fmt.Fprintf(r.errOut, "onceq: %s in %s%s\n", r.summary(), short(time.Since(began)), later)
	return errors.Join(err, worker.Close())
}

// drained returns when no job of the queues (and kinds) is due or running, or with ctx.
func drained(ctx context.Context, client *onceq.Client, queues, kinds []string, running *atomic.Int64) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if running.Load() > 0 {
			pause = 10 * time.Millisecond
			continue
		}
		if busy, err := anyDue(ctx, client, queues, kinds); err == nil && !busy { // a store that fails for a while is the worker's to wait for
			return
		}
	}
}

func anyDue(ctx context.Context, client *onceq.Client, queues, kinds []string) (bool, error) {
	all, err := client.Queues(ctx)
	if err != nil {
		return false, err
	}
	for _, q := range all {
		for _, st := range []onceq.State{onceq.Available, onceq.Running} {
			if !slices.Contains(queues, q.Name) || q.Counts[st] == 0 || q.Paused && st == onceq.Available {
				continue
			}
			if len(kinds) == 0 {
				return true, nil
			}
			for _, kind := range kinds {
				for _, err := range client.Jobs(ctx, onceq.JobFilter{State: st, Queue: q.Name, Kind: kind, Limit: 1}) {
					return true, err
				}
			}
		}
	}
	return false, nil
}

// left says what a drain did not wait for.
func left(ctx context.Context, client *onceq.Client, queues map[string]onceq.QueueConfig) string {
	all, err := client.Queues(ctx)
	if err != nil {
		return ""
	}
	due, retried, later, paused := 0, 0, 0, 0
	for _, q := range all {
		if _, served := queues[q.Name]; served {
			retried, later = retried+q.Counts[onceq.Retryable], later+q.Counts[onceq.Scheduled]
			if q.Paused {
				paused += q.Counts[onceq.Available]
			} else {
				due += q.Counts[onceq.Available] // since the drain ended
			}
		}
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{due, "due by now"}, {retried, "to be retried"}, {later, "due later"}, {paused, "in a paused queue"}} {
		if p.n > 0 {
			parts = append(parts, thousands(p.n)+" "+p.what)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; left: " + strings.Join(parts, ", ")
}

// logLines is a slog.Handler for people: a line for each record from warnings up.
type logLines struct {
	out   interface{ Write([]byte) (int, error) }
	mu    sync.Mutex
	attrs string
}

func (l *logLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("onceq: " + strings.TrimPrefix(r.Message, "onceq: ") + l.attrs)
	r.Attrs(func(at slog.Attr) bool { b.WriteString(attr(at)); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.out.Write([]byte(b.String() + "\n"))
	return err
}

func attr(at slog.Attr) string {
	value := at.Value.Resolve().String()
	if clean(value) != value || value == "" || strings.ContainsAny(value, ` "=`) {
		value = strconv.Quote(value)
	}
	return " " + at.Key + "=" + value
}

func (l *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := l.attrs
	for _, at := range attrs {
		if at.Key != "worker" { // there is one
			more += attr(at)
		}
	}
	return &logLines{out: l.out, attrs: more}
}

func (l *logLines) WithGroup(string) slog.Handler { return l }

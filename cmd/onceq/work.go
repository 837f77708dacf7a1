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
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
	"github.com/onceq/onceq/storeurl"
)

type work struct {
	exec     string
	queues   *[]string // nil = not said
	atOnce   int       // slots of the pool; 0 = none
	global   *[]string // nil = not said
	kinds    *[]string
	drain    bool
	timeout  time.Duration
	snooze   time.Duration
	lease    time.Duration
	shutdown time.Duration
	metrics  string // HOST:PORT
}

func newWork(a *app) *cobra.Command {
	w := work{snooze: 30 * time.Second, lease: 30 * time.Second, shutdown: 20 * time.Second}
	c := &cobra.Command{
		Use:   "work --exec 'COMMAND'",
		Short: "Run jobs, one process each",
		Long: `Run jobs: for each one, sh -c 'COMMAND' with the job's args on standard input,
and ONCEQ_ID, ONCEQ_KIND, ONCEQ_QUEUE, ONCEQ_ATTEMPT (from 1) and ONCEQ_RUN in
its environment (and ONCEQ_STORE, so that it can enqueue; TRACEPARENT and TRACESTATE if the
enqueue was traced).

  exit code 0     the job is completed
  exit code 100   it is discarded: not worth another attempt
  exit code 75    it is snoozed: run again after --snooze, without spending an attempt
  any other       the attempt failed: it is retried with backoff, until --max-attempts of its
                  enqueue; the end of standard error is kept with the job
                  (onceq job show)

A run whose job is cancelled, whose --timeout is over or whose lease is lost
is stopped: SIGTERM to its process group, SIGKILL 5s later (2s at the end of
--shutdown-timeout).

The first Ctrl-C (or SIGTERM, a closed terminal, an output that nobody reads
any more) starts no more jobs and waits for those that run, up to
--shutdown-timeout; the second stops them and hands them back, to run again
without having spent an attempt; the third does so with SIGKILL. A run that
fails after the first is handed back too: a service manager may have signalled
its process together with the worker.

With --drain it ends by itself once no job of its queues (and --kinds) is due
or running, here or on another worker. Jobs that are due later, retries among
them, are not waited for; nor is what is due in a paused queue.

Schedules (onceq periodic) are served besides.

Names are taken literally: * is no pattern. In --queues and --kinds a comma
that belongs to a name is written \, and a queue whose name has a = is named
with its number: --queues 'a=b=10'.

With --concurrency the queues share so many slots: NAME*W starts W times as many
as NAME while both have jobs, and what one does not need the others get.
NAME=N keeps slots of its own besides.

With --global no more than N jobs of a queue run at once in all workers that say
so, on all machines (onceq docs limits).`,
		Example: `  onceq work --exec 'jq -r .to | xargs send-mail'
  onceq work --exec ./run.sh --queues default=10,mail=2 --drain
  onceq work --exec ./run.sh --queues 'critical*6,default*3,low' --concurrency 20`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case strings.TrimSpace(w.exec) == "":
				return usagef("say what to run for each job: onceq work --exec 'COMMAND'")
			case c.Flags().Changed("concurrency") && (w.atOnce < 1 || w.atOnce > 10_000):
				return usagef("--concurrency \"%d\" must be 1 to 10,000", w.atOnce)
			case w.lease == 0: // which would be the default
				return usagef("--lease \"0\" must be 100ms to 24h")
			case c.Flags().Changed("metrics-listen") && w.metrics == "":
				return usagef("--metrics-listen \"\" must be HOST:PORT, or :PORT for this machine alone")
			case w.shutdown == 0:
				w.shutdown = time.Nanosecond // likewise
			}
			return a.work(c.Context(), &w)
		},
	}
	w.flags(c.Flags())
	return c
}

func (w *work) flags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&w.exec, "exec", "", "the `COMMAND`, for sh -c")
	fs.Var(terms.List("NAME=N,...", &w.queues), "queues",
		`the queues to serve, and how many jobs of each run at once (default default=10); with --concurrency `+
			`NAME*W, and the weight of each`)
	fs.IntVar(&w.atOnce, "concurrency", 0, "so many jobs run at once, of all queues without a number of their own "+
		"(default none)")
	fs.Var(terms.List("NAME=N,...", &w.global), "global", "how many jobs of these queues run at once in the whole "+
		"fleet (default any number)")
	fs.Var(terms.List("KINDS", &w.kinds), "kinds", "run only jobs of these kinds")
	fs.BoolVar(&w.drain, "drain", false, "end when nothing is due or running")
	fs.Var(&span{&w.timeout}, "timeout", "stop a run that takes longer, and count it as failed (default none)")
	fs.Var(&span{&w.snooze}, "snooze", "how long exit code 75 puts a job off")
	fs.Var(&span{&w.lease}, "lease", "without a sign of life for this long, other workers take over")
	fs.Var(&span{&w.shutdown}, "shutdown-timeout", "how long a first Ctrl-C waits for jobs that run")
	fs.StringVar(&w.metrics, "metrics-listen", "", "show metrics for Prometheus at http://`HOST:PORT`/metrics "+
		"(:PORT is this machine alone)")
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
	*s.d, err = terms.ParseDuration(text)
	return err
}

// parseQueues reads NAME=N, NAME*W and NAME. The number follows the last = or
// *, so a name may contain them. pool says that there are shared slots.
func parseQueues(list []string, pool bool) (map[string]onceq.QueueConfig, error) {
	queues := map[string]onceq.QueueConfig{}
	for _, q := range list {
		q = strings.TrimSpace(q)
		name, config := q, onceq.QueueConfig{Concurrency: 10}
		if pool {
			config = onceq.QueueConfig{}
		}
		if i := strings.LastIndexByte(q, '*'); i > 0 && strings.Trim(q[i+1:], "0123456789") == "" && i+1 < len(q) {
			weight, err := strconv.Atoi(q[i+1:])
			switch {
			case !pool:
				return nil, usagef("--queues %q: NAME*W is the weight in slots that queues share: say with "+
					"--concurrency how many these are; for a queue of the name %s say %s=10", q, q, q)
			case err != nil || weight < 1 || weight > 1000:
				return nil, usagef("--queues %q: the weight must be 1 to 1,000", q)
			}
			name, config.Weight = q[:i], weight
		} else if i := strings.LastIndexByte(q, '='); i >= 0 {
			n, err := strconv.Atoi(q[i+1:])
			if name, config.Concurrency = q[:i], n; err != nil || n < 1 {
				return nil, usagef("--queues %q: must be NAME=N, with N jobs at once, 1 or more; for a queue of the "+
					"name %s say %s=10", q, q, q)
			}
		}
		if _, twice := queues[name]; twice || name == "" {
			return nil, usagef("--queues %q: each queue needs a name, and is named once", q)
		}
		queues[name] = config
	}
	if len(queues) == 0 {
		return nil, usagef("--queues names no queue: leave it away to serve default")
	}
	return queues, nil
}

// limitQueues reads NAME=N of --global.
func (w *work) limitQueues(queues map[string]onceq.QueueConfig) error {
	if w.global == nil {
		return nil
	}
	for _, text := range *w.global {
		text = strings.TrimSpace(text)
		i := strings.LastIndexByte(text, '=')
		n, err := strconv.Atoi(text[i+1:])
		if i < 1 || err != nil || n < 1 || n > 100 {
			return usagef("--global %q: must be NAME=N, with N jobs at once in the whole fleet, 1 to 100", text)
		}
		q, served := queues[text[:i]]
		switch {
		case !served:
			return usagef("--global %q: this worker does not serve the queue %s: name it in --queues", text, text[:i])
		case q.Global > 0:
			return usagef("--global %q: each queue is named once", text)
		}
		q.Global = n
		queues[text[:i]] = q
	}
	return nil
}

func (a *app) work(ctx context.Context, w *work) (err error) {
	named := []string{"default=10"}
	if w.atOnce > 0 {
		named = []string{"default"}
	}
	if w.queues != nil {
		named = *w.queues
	}
	queues, err := parseQueues(named, w.atOnce > 0)
	if err == nil {
		err = w.limitQueues(queues)
	}
	if err != nil {
		return err
	}
	var kinds []string
	if w.kinds != nil {
		kinds = *w.kinds
	}
	atOnce := w.atOnce
	for _, q := range queues {
		atOnce += q.Concurrency
	}
	r := newRunner(a, w, atOnce > 1)
	config := &onceq.WorkerConfig{Queues: queues, Concurrency: w.atOnce, Kinds: kinds, Lease: w.lease,
		ShutdownTimeout: w.shutdown, Drain: w.drain, ServePeriodic: true,
		Logger: slog.New(&logLines{out: r.errOut})}
	if _, err := onceq.NewWorker(nowhere{}, config); err != nil {
		return usage(err) // before a file is made
	}
	shown, err := exportMetrics(w.metrics)
	if err != nil {
		return err
	}
	defer shown.end()
	s, err := a.open(ctx, &onceq.Config{MeterProvider: shown.provider})
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	shown.say(r.errOut)
	if w.queues != nil {
		if err := r.greet(ctx, s.client, queues); err != nil {
			return err
		}
	}
	config.Client, config.MeterProvider = s.client, shown.provider
	worker, err := onceq.NewWorker(s.store, config)
	if err != nil {
		return err
	}
	worker.HandleAny(r.handle)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer r.heedStops(stop)()
	if !w.drain && isTerminal(a.errOut) {
		fmt.Fprintf(r.errOut, "onceq: running jobs of %s from %s; Ctrl-C ends it\n", strings.Join(named, ", "),
			storeurl.Redacted(a.store))
	}
	began := time.Now()
	if w.drain {
		err = drain(ctx, worker, s.client, slices.Sorted(maps.Keys(queues)), kinds)
	} else {
		err = worker.Run(ctx)
	}
	r.killAll()
	later := ""
	if w.drain && err == nil {
		later = left(context.WithoutCancel(ctx), s.client, queues, kinds)
	}
	fmt.Fprintf(r.errOut, "onceq: %s in %s%s\n", r.summary(), short(time.Since(began)), later)
	return errors.Join(err, worker.Close())
}

// logLines is a slog.Handler for people: a line for each record from
// warnings up.
type logLines struct {
	out   interface{ Write([]byte) (int, error) }
	mu    sync.Mutex
	attrs string
	info  bool // what is good to know is told too
}

func (l *logLines) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || l.info && level >= slog.LevelInfo
}

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
		if at.Key != "worker" { // there is only one worker
			more += attr(at)
		}
	}
	return &logLines{out: l.out, attrs: more, info: l.info}
}

func (l *logLines) WithGroup(string) slog.Handler { return l }

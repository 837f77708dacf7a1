package onceq

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// QueueConfig says how a worker serves a queue.
type QueueConfig struct {
	// Concurrency is how many jobs of the queue run at once in this worker: 1 to
	// 10,000. 0 = it shares the slots of [WorkerConfig].Concurrency.
	Concurrency int
	// Weight is the part of these shared slots that the queue gets while the
	// others have jobs too: with 6 it starts twice as many as one with 3. 1 to
	// 1,000; 0 = 1. It is for a queue without a Concurrency.
	Weight int
	// Global is how many jobs of the queue run at once in the whole fleet: 1 to
	// 100; 0 = no limit. It holds while leases do: a worker that was taken for
	// dead, and goes on, exceeds it until its handlers heed their contexts, which
	// end with [ErrLeaseLost].
	//
	// A job costs no more with it. A worker takes slots in the store while it has
	// jobs for them, and gives them back after one to two seconds without, or to
	// a worker that has waited for one for ten seconds. Between workers there is
	// no order besides. The slots of a worker that dies are free when it is
	// rescued, as its jobs are.
	//
	// All workers that serve the queue should say the same. While they do not, as
	// during a deploy, no more run at once than the largest number says, and those
	// that say n or less have no more than n. A worker that says nothing is not
	// limited, nor are those in other languages.
	Global int
}

// WorkerConfig says what a [Worker] does. The zero value is ready to use:
// ten jobs of the queue "default" at once.
type WorkerConfig struct {
	// Queues are the queues to serve; empty = the queue "default" with
	// Concurrency 10.
	Queues map[string]QueueConfig
	// Concurrency is how many jobs of all queues that have no Concurrency of
	// their own run at once in this worker: 1 to 10,000. What one of them does
	// not need the others get. 0 = each queue needs a Concurrency.
	Concurrency int
	// Kinds are the only kinds to fetch. nil = those that have a handler
	// here, or any kind once there is a handler for any
	// ([Worker.HandleAny]). A job of another kind waits and spends no
	// attempt. A job of a kind that is named here and has no handler fails.
	Kinds []string
	// Lease is how long the store waits for a heartbeat before other
	// workers may take over the runs of this one. It is renewed at a third
	// of its length. 0 = 30s; 100ms to 24h. A call to the store is given up
	// after a third of the lease, and after 10s at the latest. The workers
	// of a store should use about the same length.
	Lease time.Duration
	// ShutdownTimeout is how long running handlers may continue when Run is
	// to end. Then their contexts are cancelled, handlers have 3s to
	// return, and the jobs that are not completed are handed back with
	// their keys. Run returns 5s after ShutdownTimeout at the latest,
	// however slow handlers and the store are. 0 = 20s, which fits into the
	// 30s that Kubernetes gives.
	ShutdownTimeout time.Duration
	// PollInterval is how often an idle worker looks for jobs that no
	// wake-up announced, give or take a fifth. 0 = 1s; 1ms to 1h. If the
	// worker knows of a job that is due earlier, it looks then.
	PollInterval time.Duration
	// Periodic are the schedules that the program has in its code. They are
	// put into the store when Run begins; see [Client.PutPeriodic]. One that
	// is taken out of the code makes no jobs from then on, and is removed
	// after a day.
	Periodic []Periodic
	// ServePeriodic makes the worker serve the schedules of the store also if
	// Periodic is empty. A worker needs no handlers for that.
	ServePeriodic bool
	// Retry is the backoff after failures; nil = [DefaultRetry].
	Retry RetryPolicy
	// Middleware wraps the handling of every job.
	Middleware []Middleware
	// OnFinish is called after a run whose result is in the store: State is
	// what became of the job, err what the handler returned, with the reason
	// if its context ended. It is called too for a run whose worker was lost
	// and that this worker ended in its place; err is then [ErrLeaseLost]. It
	// is not called for a run that a shutdown handed back, nor for a result
	// that came too late.
	//
	// It is called at most once for a run: if the process dies in between,
	// never. What must happen belongs into the handler, or into a job.
	//
	// There is one call at a time, in the order of the results, on a
	// goroutine of its own. While 2,000 wait the worker fetches no more. Run
	// waits 5s for the last calls, then ctx ends. [ClientFrom] works. A
	// panic is logged.
	OnFinish func(ctx context.Context, job *JobRow, err error)
	// Drain makes Run return by itself as soon as nothing is due in the
	// queues and nothing runs here. It does not wait for jobs that are due
	// later. Before Run returns it sweeps the store as any worker does, for
	// 30s at most: it prunes finished jobs whose retention is over, and if
	// a worker seems to have died, it waits until that is certain (half a
	// lease) and rescues its runs.
	Drain bool
	// Client is what [ClientFrom] returns inside handlers; nil = a client
	// of the store with the default [Config].
	Client *Client
	// Logger gets failures, rescues and trouble with the store; nil =
	// slog.Default(). Args are never logged.
	Logger *slog.Logger
	// MeterProvider gets the metrics of runs (docs/metrics.md); nil = the
	// global one.
	MeterProvider metric.MeterProvider
	// TracerProvider gets the spans of runs (docs/tracing.md); nil = the global
	// one.
	TracerProvider trace.TracerProvider
	// ID names the worker in the store, in logs and on pages; each Run adds
	// a suffix. "" = host-pid-random; at most 100 printable bytes.
	ID string
}

// complete checks a configuration and fills in the defaults.
func (c *WorkerConfig) complete() error {
	if len(c.Queues) == 0 {
		c.Queues = map[string]QueueConfig{"default": {}}
		if c.Concurrency == 0 {
			c.Queues["default"] = QueueConfig{Concurrency: 10}
		}
	}
	c.Queues = maps.Clone(c.Queues)
	if err := c.completeQueues(); err != nil {
		return err
	}
	if c.Kinds != nil && len(c.Kinds) == 0 {
		return invalid("WorkerConfig.Kinds", "[]", "must name a kind, or be nil for any")
	}
	c.Kinds = slices.Clone(c.Kinds)
	for _, kind := range c.Kinds {
		if err := checkName("WorkerConfig.Kinds", kind); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field                   string
		value                   *time.Duration
		usual, smallest, widest time.Duration
	}{
		{"Lease", &c.Lease, 30 * time.Second, 100 * time.Millisecond, 24 * time.Hour},
		{"ShutdownTimeout", &c.ShutdownTimeout, 20 * time.Second, 1, maxDuration},
		{"PollInterval", &c.PollInterval, time.Second, time.Millisecond, time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
		if *d.value < d.smallest || *d.value > d.widest {
			return invalid("WorkerConfig."+d.field, *d.value, "must be %v to %v, or 0 for %v", d.smallest,
				d.widest, d.usual)
		}
	}
	if c.Retry == nil {
		c.Retry = DefaultRetry
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.ID == "" {
		host, _ := os.Hostname()
		host = strings.Map(func(r rune) rune {
			if r > ' ' && r <= '~' {
				return r
			}
			return -1
		}, host)
		c.ID = fmt.Sprintf("%s-%d-%s", bound(host, 60), os.Getpid(), randomName(4))
	}
	if len(c.ID) > 100 {
		return invalid("WorkerConfig.ID", c.ID, "must be at most 100 bytes long, not %d", len(c.ID))
	}
	return checkName("WorkerConfig.ID", c.ID)
}

// completeQueues checks the queues, and gives a weight to those that share
// slots.
func (c *WorkerConfig) completeQueues() error {
	if c.Concurrency < 0 || c.Concurrency > 10_000 {
		return invalid("WorkerConfig.Concurrency", c.Concurrency, "must be 1 to 10,000, or 0 for none")
	}
	shared := false
	for name, q := range c.Queues {
		field := fmt.Sprintf("WorkerConfig.Queues[%q].", name)
		err := checkQueue("WorkerConfig.Queues", name)
		switch {
		case err != nil:
			return err
		case q.Concurrency < 0 || q.Concurrency > 10_000 || q.Concurrency == 0 && c.Concurrency == 0:
			return invalid(field+"Concurrency", q.Concurrency, "must be 1 to 10,000: to leave a queue alone, leave it "+
				"away; to let it share slots with others, set WorkerConfig.Concurrency")
		case q.Weight < 0 || q.Weight > 1000:
			return invalid(field+"Weight", q.Weight, "must be 1 to 1,000, or 0 for 1")
		case q.Weight > 0 && q.Concurrency > 0:
			return invalid(field+"Weight", q.Weight, "is for a queue that shares the slots of "+
				"WorkerConfig.Concurrency: leave its own Concurrency away")
		case q.Global < 0 || q.Global > maxGlobal:
			return invalid(field+"Global", q.Global, "must be 1 to %d, or 0 for no limit: for more, give each of the "+
				"workers a Concurrency that is its part", maxGlobal)
		case q.Concurrency == 0:
			shared = true
			q.Weight = max(q.Weight, 1)
			c.Queues[name] = q
		}
	}
	if c.Concurrency > 0 && !shared {
		return invalid("WorkerConfig.Concurrency", c.Concurrency, "is shared by no queue: leave it away, or leave the "+
			"Concurrency of a queue away")
	}
	return nil
}

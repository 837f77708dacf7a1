package onceq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Remote lets workers take part that are not in this process, and may be
// written in any language: what they call is one method each, and a server in
// between (onceq serve) needs no memory of them. It is for code that offers
// such a service; package dashboard has one over HTTP.
//
// A worker is issued a name ([Remote.Join]), fetches jobs, sends a heartbeat
// every third of the lease, and finishes runs. Each fetch has the next number,
// also after one that failed, and says which runs the worker has in hand. So an
// answer that was lost is found out by the next call: its jobs are handed back,
// and no attempt is spent.
type Remote struct {
	store   Store
	config  RemoteConfig
	log     *slog.Logger
	metrics *metrics
	tracing *tracing
	hub     *hub
	ran     atomic.Bool
	stop    atomic.Pointer[context.CancelCauseFunc] // ends Run
}

// RemoteConfig configures a [Remote].
type RemoteConfig struct {
	// Lease is how long a worker may be silent until it counts as lost, 5s to
	// 24h; 0 = 60s. It is one for all workers, so that no server must remember
	// that of each.
	Lease         time.Duration
	Retry         RetryPolicy          // the backoff of runs that fail or are lost; nil = DefaultRetry
	Logger        *slog.Logger         // nil = slog.Default()
	MeterProvider metric.MeterProvider // nil = the global one
	// TracerProvider gets the spans of rescues (docs/tracing.md); nil = the
	// global one. The spans of runs are for the workers to make.
	TracerProvider trace.TracerProvider
}

// The bounds of a [Remote].
const (
	MaxRemoteWait  = 30 * time.Second // that a fetch waits; never more than a third of the lease
	MaxRemoteSlots = 1000             // jobs that one fetch asks for
	MaxRemoteRuns  = 10_000           // runs that a worker has in hand
	maxRemoteNames = 100              // queues, and kinds, of one fetch
	maxRemoteName  = 40               // bytes of the name of an owner, and of that which a worker asks for
	remotePrefix   = "http/"          // of the names of workers in the store
)

// NewRemote makes a Remote. nil = the defaults.
func NewRemote(store Store, config *RemoteConfig) (*Remote, error) {
	if isNil(store) {
		return nil, invalid("store", "nil", "must not be nil: open one with package sqlitestore, pgstore or redisstore")
	}
	r := &Remote{store: store, hub: newHub(store)}
	if config != nil {
		r.config = *config
	}
	c := &r.config
	c.Lease = cmp.Or(c.Lease, time.Minute)
	if c.Lease < 5*time.Second || c.Lease > 24*time.Hour {
		return nil, invalid("RemoteConfig.Lease", c.Lease, "must be 5s to 24h, or 0 for 60s")
	}
	if c.Retry == nil {
		c.Retry = DefaultRetry
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	r.log = safeLogger(c.Logger)
	var err error
	r.tracing = newTracing(c.TracerProvider)
	r.metrics, err = newMetrics(c.MeterProvider, newLabels())
	return r, err
}

// Lease is how long a worker may be silent.
func (r *Remote) Lease() time.Duration { return r.config.Lease }

// Run rescues the runs of workers that were lost, tidies the store, and wakes
// fetches that wait, until ctx ends; then no fetch waits any more. It returns
// nil, or an error if the store was closed. One process needs one Run; without
// it each fetch looks once a second, and nobody is rescued here. It can be
// called once.
func (r *Remote) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return invalid("Run", "", "was called before: make another Remote")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop.Store(&stop)
	name := remotePrefix + randomName(10)
	sw := newSweeper(r, r.store, name, r.config.Lease)
	sw.log = r.log.With("worker", name)
	sw.rescued = func(job *JobRow, _ *Finish, state State) {
		r.metrics.rescued(job, state)
		r.tracing.rescued(ctx, job, state, name)
	}
	sw.retry = func(*JobRow) RetryPolicy { return r.config.Retry }
	var all sync.WaitGroup
	all.Go(func() { r.hub.run(ctx) })
	all.Go(func() { sw.loop(ctx, rand.N(callLimit(r.config.Lease)/2)) })
	all.Go(func() {
		r.hub.listen(ctx, func(failures int, err error) {
			r.logRarely(failures, "onceq: no wake-ups from the store", err)
		})
	})
	all.Wait()
	if err := context.Cause(ctx); errors.Is(err, ErrClosed) {
		return fmt.Errorf("onceq: the store was closed while a Remote ran: %w", err)
	}
	return nil
}

// logRarely warns of the 1st, 2nd, 4th, 8th … failure in a row of something
// that is tried again and again.
func (r *Remote) logRarely(failures int, text string, err error, attrs ...any) {
	if failures&(failures-1) == 0 {
		r.log.Warn(text, append(attrs, "error", err, "failures", failures)...)
	}
}

// call makes a call to the store. A store that was closed ends Run.
func (r *Remote) call(ctx context.Context, limit time.Duration,
	f func(ctx context.Context) error) (time.Duration, error) {
	took, err := callStore(ctx, limit, r.log, f)
	if stop := r.stop.Load(); stop != nil && errors.Is(err, ErrClosed) {
		(*stop)(err)
	}
	return took, err
}

func (r *Remote) send(ctx context.Context, requests []Finish) []answer {
	return sendResults(ctx, requests, nil, func(ctx context.Context, some []Finish, answers []answer) error {
		_, err := finishRuns(ctx, r.store, some, answers, r.call, callLimit(r.config.Lease))
		return err
	})
}

func (r *Remote) hasMore(queue string) { r.hub.due(queue) }
func (r *Remote) tidy()                {}

// Joining is what a worker says of itself.
type Joining struct {
	Name   string         // that its own begins with, of letters, digits, ".", "_" and "-"; "" = "worker"
	Queues map[string]int // that it will serve, and with how many slots, for people
	Kinds  []string       // that it will take; nil = any
	About  WorkerAbout    // Host, PID, Version and Lang, for people
}

// Join gives a worker its name, and makes it known. The owner is who may use the
// name: a user or a token, of letters, digits, ".", "_" and "-", at most 40
// bytes. The same worker with another owner is another worker.
//
// Names are issued, because two workers with one name would hand back each
// other's runs for ever.
func (r *Remote) Join(ctx context.Context, owner string, j Joining) (worker string, err error) {
	j.Name = cmp.Or(j.Name, "worker")
	if err := checkRemoteName("name", j.Name); err != nil {
		return "", err
	}
	worker = j.Name + "-" + randomName(10)
	worker += "-" + checkOf(worker)
	name, err := nameInStore(owner, worker)
	if err != nil {
		return "", err
	}
	if err := cmp.Or(checkSlots(j.Queues), checkKinds(j.Kinds)); err != nil {
		return "", err
	}
	about := j.About
	about.Queues, about.Kinds = j.Queues, j.Kinds
	about.Host, about.Version = bound(about.Host, MaxNameSize), bound(about.Version, MaxNameSize)
	about.Lang = bound(about.Lang, MaxNameSize)
	_, err = r.extend(ctx, ExtendRequest{Worker: name, About: about.encode()})
	return worker, err
}

// RemoteFetch asks for jobs for a worker.
type RemoteFetch struct {
	Owner  string         // as at Join
	Worker string         // as Join returned it
	No     int64          // 1, 2, 3 … for each worker: the next number, also after a fetch that failed
	Runs   []Run          // all runs that the worker has in hand, of the fetches before
	Queues map[string]int // which queues, and how many jobs of each
	Kinds  []string       // only these; nil = any
	Wait   time.Duration  // for a job, at most MaxRemoteWait and a third of the lease
}

// RemoteFetched is what a worker gets.
type RemoteFetched struct {
	Jobs []*JobRow // now running, for this worker
	Lost []Run     // of Runs: no longer this worker's, their results do not count
	Stop []Run     // of Runs: asked to stop
	Back int       // jobs of earlier fetches that were handed back
	// NextDue is how long until the next job is due; 0 = there may be more at
	// once; negative = no job waits for its time.
	NextDue time.Duration
}

// Fetch is a heartbeat that says that all earlier fetches are over, and then
// starts due jobs. If there are none it waits. When ctx ends, the client is
// taken to be gone, and what was fetched for it is handed back.
//
// Args that a [Codec] encoded stay so ([JobRow.EncodedBy]).
func (r *Remote) Fetch(ctx context.Context, f RemoteFetch) (RemoteFetched, error) {
	name, err := f.check()
	if err != nil {
		return RemoteFetched{}, err
	}
	heartbeat := ExtendRequest{Worker: name, Runs: f.Runs, FetchesDone: f.No - 1}
	x, err := r.extend(ctx, heartbeat)
	if err != nil {
		return RemoteFetched{}, err
	}
	answer := RemoteFetched{Lost: x.Lost, Stop: x.Stop, Back: x.Back}
	request := FetchRequest{Worker: name, No: f.No, Kinds: f.Kinds, MaxBytes: MaxPageBytes}
	queues := slices.Sorted(maps.Keys(f.Queues))
	for i := range queues { // each fetch begins with another queue, so that none is always last
		q := queues[(i+int(f.No%int64(len(queues))))%len(queues)]
		request.Queues = append(request.Queues, QueueSlots{Queue: q, Slots: f.Queues[q]})
	}
	until := time.Now().Add(min(f.Wait, MaxRemoteWait, r.config.Lease/3))
	p := r.hub.join(queues, slices.Sorted(slices.Values(f.Kinds)))
	defer p.leave()
	for {
		got, err := r.look(ctx, request)
		if ctx.Err() != nil && (err != nil || len(got.Jobs) > 0) { // the client is gone
			heartbeat.FetchesDone = f.No
			_, _ = r.extend(context.WithoutCancel(ctx), heartbeat) // else the end of its lease does it
			return RemoteFetched{}, fmt.Errorf("onceq: fetch for worker %s: %w", f.Worker, ctx.Err())
		}
		if err != nil {
			return answer, err
		}
		answer.Jobs, answer.NextDue = got.Jobs, got.NextDue
		if len(got.Jobs) > 0 {
			p.seen, p.full = true, gotAll(request, got)
			return answer, nil
		}
		if !p.wait(ctx, until, got.NextDue) {
			return answer, ctx.Err()
		}
	}
}

// look is one fetch from the store. It goes on when the client goes: what it
// started is then known, and is handed back.
func (r *Remote) look(ctx context.Context, request FetchRequest) (got Fetched, err error) {
	_, err = r.call(context.WithoutCancel(ctx), callLimit(r.config.Lease), func(ctx context.Context) (err error) {
		got, err = r.store.Fetch(ctx, request)
		return err
	})
	if err != nil {
		return Fetched{}, fmt.Errorf("onceq: fetch: %w", err)
	}
	return got, nil
}

// gotAll reports whether a fetch brought all that it asked for, of some queue.
func gotAll(r FetchRequest, f Fetched) bool {
	got := map[string]int{}
	for _, job := range f.Jobs {
		got[job.Queue]++
	}
	return f.NextDue == 0 || slices.ContainsFunc(r.Queues, func(q QueueSlots) bool { return got[q.Queue] >= q.Slots })
}

// Extend is a worker's heartbeat: runs are all that it has in hand, and
// fetchesDone is the number of the last fetch whose answer is among them. Jobs
// of that fetch or an earlier one that are not among runs are handed back.
func (r *Remote) Extend(ctx context.Context, owner, worker string, runs []Run, fetchesDone int64) (Extended, error) {
	name, err := nameInStore(owner, worker)
	if err != nil {
		return Extended{}, err
	}
	if err := checkRuns(runs); err != nil {
		return Extended{}, err
	}
	if fetchesDone < 0 {
		return Extended{}, invalid("fetches_done", fetchesDone, "must be the number of a fetch, or 0")
	}
	return r.extend(ctx, ExtendRequest{Worker: name, Runs: runs, FetchesDone: fetchesDone})
}

func (r *Remote) extend(ctx context.Context, request ExtendRequest) (x Extended, err error) {
	request.Lease = r.config.Lease
	_, err = r.call(ctx, callLimit(r.config.Lease), func(ctx context.Context) (err error) {
		x, err = r.store.Extend(ctx, request)
		return err
	})
	if err != nil {
		return Extended{}, fmt.Errorf("onceq: heartbeat: %w", err)
	}
	r.handedBack(x.Back)
	return x, nil
}

func (r *Remote) handedBack(jobs int) {
	if jobs > 0 {
		r.metrics.handedBack(jobs)
		r.hub.due("")
	}
}

// Leave says that a worker ends. All that still runs for it is handed back.
func (r *Remote) Leave(ctx context.Context, owner, worker string) error {
	name, err := nameInStore(owner, worker)
	if err != nil {
		return err
	}
	var x Extended
	_, err = r.call(ctx, callLimit(r.config.Lease), func(ctx context.Context) (err error) {
		x, err = r.store.Extend(ctx, ExtendRequest{Worker: name, FetchesDone: 1<<62 - 1})
		return err
	})
	if err != nil {
		return fmt.Errorf("onceq: take leave of the store: %w", err)
	}
	r.handedBack(x.Back)
	return nil
}

// Verdict is how a run ended.
type Verdict struct {
	// Outcome is "completed"; "failed", which is tried again while attempts are
	// left; "discarded" or "cancelled", which is not; "snoozed", which runs again
	// after Delay and spends no attempt; or "returned", which is handed back.
	Outcome string
	Error   string        // what went wrong; at most 4 KiB are kept
	Stack   string        // where; at most 8 KiB are kept, and none without Error
	Delay   time.Duration // until the next run, for "failed" (0 = as the retry policy says), "snoozed" and "returned"
	Result  []byte        // of the job, as JSON, at most DefaultMaxResult bytes; nil = none
}

// Finish ends a run, and returns the state of the job as it was recorded. A
// repeat by the same worker gets the first answer. [ErrLeaseLost] means that
// the run is no longer this worker's and nothing has changed; [ErrNotFound] that
// the job is not kept.
func (r *Remote) Finish(ctx context.Context, owner, worker string, run Run, v Verdict) (State, error) {
	name, err := nameInStore(owner, worker)
	if err != nil {
		return "", err
	}
	f, err := r.decide(ctx, run, v)
	if err != nil {
		return "", err
	}
	f.Worker = name
	var results []FinishResult
	_, err = r.call(ctx, callLimit(r.config.Lease), func(ctx context.Context) (err error) {
		results, err = r.store.Finish(ctx, FinishRequest{Runs: []Finish{f}})
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("onceq: finish job %s: %w", run.ID, err)
	case results[0].Status == FinishLost:
		return "", fmt.Errorf("onceq: run %d of job %s is not this worker's any more: %w", run.Run, run.ID,
			ErrLeaseLost)
	case results[0].Status == FinishGone:
		return "", fmt.Errorf("onceq: job %s: %w", run.ID, ErrNotFound)
	}
	if queue := results[0].Wake; queue != "" {
		r.hub.due(queue)
	}
	return results[0].State, nil
}

// decide says how a run ends.
func (r *Remote) decide(ctx context.Context, run Run, v Verdict) (Finish, error) {
	job := &JobRow{ID: run.ID, Run: run.Run}
	said := errors.New(cmp.Or(strings.TrimSpace(v.Error), "the worker said no more"))
	var err error
	switch v.Outcome {
	case "completed":
	case "failed":
		jobs, e := r.store.Get(ctx, []string{run.ID})
		if e != nil {
			return Finish{}, fmt.Errorf("onceq: get job %s: %w", run.ID, e)
		}
		if jobs[0] != nil { // if it has another run by now, the store answers that this one is lost
			job, err = jobs[0], said
			job.Run = run.Run
		}
	case "discarded":
		err = Discard(said)
	case "cancelled":
		err = Cancel(said)
	case "snoozed", "returned":
		err = Snooze(v.Delay)
	default:
		return Finish{}, invalid("outcome", v.Outcome, `must be "completed", "failed", "discarded", "cancelled", `+
			`"snoozed" or "returned"`)
	}
	if v.Delay < 0 || v.Delay > maxDuration {
		return Finish{}, invalid("delay", v.Delay, "must be 0 to %v", maxDuration)
	}
	if v.Result != nil && (len(v.Result) > DefaultMaxResult || !json.Valid(v.Result)) {
		return Finish{}, invalid("result", fmt.Sprintf("%d bytes", len(v.Result)), "must be JSON of at most %d bytes: "+
			"keep large data elsewhere and give a reference", DefaultMaxResult)
	}
	f := decideApart(job, err, r.config.Retry)
	if f.State == Retryable && v.Delay > 0 {
		f.Delay = delayOf(v.Delay)
	}
	if f.Error != "" {
		f.Stack = cleanText(v.Stack, maxStack)
	}
	f.Result = v.Result
	return f, nil
}

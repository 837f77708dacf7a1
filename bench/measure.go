package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// event is the payload on every side: 100 bytes of JSON, different for each
// number.
type event struct {
	Account int64  `json:"account"`
	Email   string `json:"email"`
	Reason  string `json:"reason"`
	Note    string `json:"note"`
}

func (event) Kind() string { return "bench" }

func newEvent(n int64) event {
	digits := strconv.FormatInt(10_000_000_000+n, 10)[1:] // ten of them
	return event{100 + n%877, "somebody." + digits + "@example.com", "benchmark", digits[1:]}
}

// newEvents makes n events that were not used before.
func newEvents(n int) []event {
	last := serial.Add(int64(n))
	all := make([]event, n)
	for i := range all {
		all[i] = newEvent(last - int64(i))
	}
	return all
}

var serial atomic.Int64

// system is a queue under test, with nothing in it.
type system interface {
	// insert enqueues a job that is unique by its args, durably.
	insert(ctx context.Context, e event) (duplicate bool, err error)
	// insertMany enqueues new unique jobs the fastest way there is.
	insertMany(ctx context.Context, all []event) error
	// drain runs the n jobs that are there, atOnce of them at once. It returns
	// how many it timed, and how long these took from the start of the first
	// handler until they were completed.
	drain(ctx context.Context, n, atOnce int) (timed int, took time.Duration, err error)
	// serve runs jobs until stop is called. From then on insert enqueues
	// through the client that serves.
	serve(ctx context.Context, handle func()) (stop func() error, err error)
	close() error
}

// opener opens a system.
type opener func(ctx context.Context, e *env) (system, error)

// env is what a measurement needs.
type env struct {
	dir    string
	d      time.Duration // how long to measure
	big    int           // jobs of the growth rows
	server *server       // nil = the store is in this process
	ends   []func()      // to do when all is measured
}

// sample is what one side did in one round.
type sample struct {
	N      int                `json:"n,omitempty"`      // jobs
	Took   time.Duration      `json:"took,omitempty"`   // ns
	Client time.Duration      `json:"client,omitempty"` // processor time of this process, ns
	Server time.Duration      `json:"server,omitempty"` // of the server's processes, ns
	Values map[string]float64 `json:"values,omitempty"`
}

// metric is one number of a sample.
func (s sample) metric(name string) float64 {
	n := float64(max(s.N, 1))
	switch name {
	case "rate":
		return n / s.Took.Seconds()
	case "time":
		return s.Took.Seconds() * 1e6 / n
	case "client":
		return float64(s.Client.Nanoseconds()) / 1e3 / n
	case "server":
		return float64(s.Server.Nanoseconds()) / 1e3 / n
	case "cpu":
		return float64((s.Client + s.Server).Nanoseconds()) / 1e3 / n
	}
	return s.Values[name]
}

// action is a measurement.
type action func(ctx context.Context, e *env) (sample, error)

// in opens a system for one measurement.
func (open opener) in(ctx context.Context, e *env, do func(s system) (sample, error)) (out sample, err error) {
	s, err := open(ctx, e)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = cmp.Or(err, s.close()) }()
	runtime.GC() // each side pays for its own garbage
	return do(s)
}

// meter reads the clocks of this process and of the server.
type meter struct {
	e              *env
	at             time.Time
	client, server time.Duration
}

func (e *env) start() meter { return meter{e, time.Now(), cpuTime(), e.server.cpuTime()} }

func (m meter) stop(n int) sample {
	return sample{N: n, Took: time.Since(m.at), Client: cpuTime() - m.client, Server: m.e.server.cpuTime() - m.server}
}

// callers lets n goroutines call do again and again. After a warm-up it counts
// for a while. do returns how many jobs it did.
func (e *env) callers(n int, do func() (int, error)) (sample, error) {
	var done atomic.Int64
	var stop atomic.Bool
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !stop.Load() {
				jobs, err := do()
				if err != nil {
					once.Do(func() { failed = err })
					stop.Store(true)
					return
				}
				done.Add(int64(jobs))
			}
		})
	}
	time.Sleep(e.d / 5)
	m, before := e.start(), done.Load()
	time.Sleep(e.d)
	for waited := e.d; done.Load() == before && waited < 20*e.d; waited += e.d / 10 {
		time.Sleep(e.d / 10) // the machine stalled, or a batch takes longer
	}
	s := m.stop(int(done.Load() - before))
	stop.Store(true)
	all.Wait()
	if failed == nil && s.N == 0 {
		failed = fmt.Errorf("nothing was done in %v: use more -seconds", e.d)
	}
	return s, failed
}

// uniques enqueues new jobs, one in each call.
func (open opener) uniques(n int) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (sample, error) {
			return e.callers(n, func() (int, error) { return 1, insertOne(ctx, s, newEvent(serial.Add(1)), false) })
		})
	}
}

// held is the number of jobs that duplicates meet.
const held = 1000

// duplicates enqueues jobs that exist already.
func (open opener) duplicates(n int) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (sample, error) {
			there := newEvents(held)
			if err := s.insertMany(ctx, there); err != nil {
				return sample{}, err
			}
			var next atomic.Int64
			before, err := e.server.written(ctx)
			if err != nil {
				return sample{}, err
			}
			out, err := e.callers(n, func() (int, error) { return 1, insertOne(ctx, s, there[next.Add(1)%held], true) })
			if err != nil {
				return sample{}, err
			}
			after, err := e.server.written(ctx)
			out.Values = map[string]float64{"written": float64(after-before) / float64(max(next.Load(), 1))}
			return out, err
		})
	}
}

func insertOne(ctx context.Context, s system, e event, want bool) error {
	duplicate, err := s.insert(ctx, e)
	if err == nil && duplicate != want {
		err = fmt.Errorf("a job answered duplicate=%v, not %v", duplicate, want)
	}
	return err
}

// batches enqueues a thousand jobs in each call, from so many goroutines with a
// connection each.
func (open opener) batches(n int) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (sample, error) {
			return e.callers(n, func() (int, error) { return 1000, s.insertMany(ctx, newEvents(1000)) })
		})
	}
}

// single times new jobs of one caller.
func (open opener) single(ctx context.Context, e *env) (sample, error) {
	return open.in(ctx, e, func(s system) (sample, error) {
		return e.timed(func() error { return insertOne(ctx, s, newEvent(serial.Add(1)), false) })
	})
}

// merges times one caller whose jobs each write to one that waits. It is for
// onceq alone: no peer can do that.
func (open opener) merges(ctx context.Context, e *env) (sample, error) {
	return open.in(ctx, e, func(s system) (sample, error) {
		there := newEvents(held)
		if err := s.insertMany(ctx, there); err != nil {
			return sample{}, err
		}
		next := 0
		return e.timed(func() error {
			next++
			return s.(*ours).merge(ctx, there[next%held])
		})
	})
}

// again times one caller whose jobs exist already.
func (open opener) again(ctx context.Context, e *env) (sample, error) {
	return open.in(ctx, e, func(s system) (sample, error) {
		there, next := newEvents(held), 0
		if err := s.insertMany(ctx, there); err != nil {
			return sample{}, err
		}
		return e.timed(func() error {
			next++
			return insertOne(ctx, s, there[next%held], true)
		})
	})
}

// timed times the calls of one caller, one after the other.
func (e *env) timed(do func() error) (sample, error) {
	var took []float64
	out, err := e.callers(1, func() (int, error) {
		at := time.Now()
		err := do()
		took = append(took, float64(time.Since(at).Nanoseconds())/1e6)
		return 1, err
	})
	if err != nil {
		return sample{}, err
	}
	slices.Sort(took)
	out.Values = quantiles(took)
	return out, nil
}

// runs runs no-op jobs, a hundred at once: about as many as take a while at
// that rate.
func (open opener) runs(rate int) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (sample, error) {
			n := max(1000, int(e.d.Seconds()*float64(rate))/1000*1000)
			if err := fill(ctx, s, n); err != nil {
				return sample{}, err
			}
			runtime.GC()
			m := e.start()
			timed, took, err := s.drain(ctx, n, 100)
			out := m.stop(n)
			// The processor time is that of all n jobs; the time is that of the
			// jobs that were timed.
			out.Took = time.Duration(float64(took) * float64(n) / float64(max(timed, 1)))
			return out, err
		})
	}
}

func fill(ctx context.Context, s system, n int) error {
	for n > 0 {
		if err := s.insertMany(ctx, newEvents(min(n, 1000))); err != nil {
			return err
		}
		n -= 1000
	}
	return nil
}

// latency enqueues one job at a time to an idle worker. It times each from
// before the call until its handler starts. The gap between jobs varies by
// half: a system that waits between fetches has waited by then.
func (open opener) latency(gap time.Duration) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (sample, error) {
			started := make(chan time.Time, 1)
			stop, err := s.serve(ctx, func() { started <- time.Now() })
			if err != nil {
				return sample{}, err
			}
			var took []float64
			one := func() error {
				at := time.Now()
				if err := insertOne(ctx, s, newEvent(serial.Add(1)), false); err != nil {
					return err
				}
				select {
				case start := <-started:
					took = append(took, float64(start.Sub(at).Nanoseconds())/1e6)
				case <-ctx.Done():
					return ctx.Err()
				}
				time.Sleep(gap + rand.N(gap/2))
				return nil
			}
			for began := time.Now(); err == nil && (time.Since(began) < e.d || len(took) < 7); {
				err = one()
			}
			if err = cmp.Or(err, stop()); err != nil {
				return sample{}, err
			}
			took = took[2:] // the worker was still starting
			slices.Sort(took)
			return sample{Values: quantiles(took)}, nil
		})
	}
}

const (
	briefly = 10 * time.Millisecond
	longer  = 120 * time.Millisecond // than River's default cooldown
)

// sized is a system that knows how much space it takes.
type sized interface {
	size(ctx context.Context) (float64, error)
	// settle frees the space of what was deleted and overwritten.
	settle(ctx context.Context) error
}

// bytes is the size of a kept job: while it waits and, where asked for, after
// it has run.
func (open opener) bytes(n int, finished bool) action {
	return func(ctx context.Context, e *env) (sample, error) {
		return open.in(ctx, e, func(s system) (out sample, err error) {
			z := s.(sized)
			empty, err := z.size(ctx)
			if err != nil {
				return out, err
			}
			if err := fill(ctx, s, n); err != nil {
				return out, err
			}
			full, err := z.size(ctx)
			if err != nil {
				return out, err
			}
			out.Values = map[string]float64{"waiting": (full - empty) / float64(n)}
			if !finished {
				return out, nil
			}
			if _, _, err = s.drain(ctx, n, 100); err != nil {
				return out, err
			}
			if full, err = z.size(ctx); err != nil {
				return out, err
			}
			out.Values["unvacuumed"] = (full - empty) / float64(n)
			if err = z.settle(ctx); err != nil {
				return out, err
			}
			full, err = z.size(ctx)
			out.Values["finished"] = (full - empty) / float64(n)
			return out, err
		})
	}
}

// quantiles are what rows show of times that are sorted. A machine wakes fast or
// slowly, in moods that last for seconds: the 10th percentile is that of the fast one.
func quantiles(sorted []float64) map[string]float64 {
	return map[string]float64{"p10": quantile(sorted, 0.10), "p50": quantile(sorted, 0.50),
		"p99": quantile(sorted, 0.99), "samples": float64(len(sorted))}
}

func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

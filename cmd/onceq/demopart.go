package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

// newDemoPart is what the processes of the demo run.
func newDemoPart(a *app) *cobra.Command {
	c := &cobra.Command{Use: "demo-part", Hidden: true}
	c.AddCommand(&cobra.Command{
		Use:  "produce SEED EVENTS",
		Args: nArgs(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			seed, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("%v", err)
			}
			events, err := strconv.Atoi(args[1])
			if err != nil {
				return usagef("%v", err)
			}
			return a.demoProduce(c.Context(), seed, events)
		},
	}, &cobra.Command{
		Use:  "work",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.demoWork(c.Context()) },
	})
	return c
}

// demoProduce delivers every event, in another order each round.
func (a *app) demoProduce(ctx context.Context, seed uint64, events int) (err error) {
	s, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 2))
	var p produced
	for range demoRounds {
		for _, n := range rnd.Perm(events) {
			// The same event, with its members in another order and other
			// white space: JSON is compared by value.
			raw := fmt.Sprintf(`{"delivery":"evt-%04d","n":%d}`, n+1, n+1)
			if rnd.IntN(2) == 0 {
				raw = fmt.Sprintf(`{ "n": %d.0, "delivery": "evt-%04d" }`, n+1, n+1)
			}
			// Until it is deleted: an event that is delivered again after
			// its job has run is a duplicate too.
			r, err := s.client.Enqueue(ctx, onceq.JSON("event", []byte(raw)),
				onceq.Unique{Fields: []string{"delivery"}, Until: onceq.UntilDeleted})
			if err != nil {
				return err
			}
			p.Offered++
			if r.Duplicate() {
				p.Duplicates++
			} else {
				p.Inserted++
			}
			if p.Offered%20 == 0 {
				a.printf("%d %d %d\n", p.Offered, p.Inserted, p.Duplicates)
			}
			time.Sleep(2 * time.Millisecond) // slow enough to watch
		}
	}
	a.printf("%d %d %d\n", p.Offered, p.Inserted, p.Duplicates)
	return nil
}

// demoWork runs jobs until its standard input ends.
func (a *app) demoWork(ctx context.Context) (err error) {
	s, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(a.in))
		stop()
	}()
	worker, err := onceq.NewWorker(s.store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 4}},
		Lease:  demoLease,
		Retry:  func(*onceq.JobRow, error) time.Duration { return 0 },
		Client: s.client,
		Logger: slog.New(slog.DiscardHandler), // the demo reports the kill
	})
	if err != nil {
		return err
	}
	out := &lockedLines{w: a.out}
	worker.HandleKind("event", func(ctx context.Context, job *onceq.JobRow) error {
		out.print("start " + job.ID)
		time.Sleep(time.Duration(20+rand.IntN(40)) * time.Millisecond)
		out.print("end " + job.ID)
		return nil
	})
	return worker.Run(ctx)
}

// lockedLines takes lines from several jobs at once.
type lockedLines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedLines) print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, line)
}

// Command cron has a report each night. Start it as often as you like, on as many
// machines as you like (with PostgreSQL or Redis): each tick has one job.
//
//	go run ./cron               # until Ctrl-C
//	go run ./cron -now          # the report of one tick at once, and the next five ticks
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // the zone is there on a machine without zones

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

// Report asks for the report of a night.
type Report struct {
	Of string `json:"of"`
}

// Kind names the job.
func (Report) Kind() string { return "report" }

const schedule = "30 2 * * *" // half past two, in winter and in summer

func main() {
	url := flag.String("store", "sqlite:cron.db", "store")
	now := flag.Bool("now", false, "one report at once, and then end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *now); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, now bool) error {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return err
	}
	store, err := storeurl.Open(ctx, url)
	if err != nil {
		return err
	}
	defer store.Close()
	nightly := onceq.Periodic{Name: "nightly", Schedule: schedule, Location: zone, Args: Report{Of: "sales"},
		Options: []onceq.Option{onceq.Unique{}}, CatchUp: onceq.Latest}
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: now, Periodic: []onceq.Periodic{nightly}})
	if err != nil {
		return err
	}
	onceq.Handle(worker, func(_ context.Context, job *onceq.Job[Report]) error {
		if name, at, ok := onceq.Tick(job.JobRow); ok {
			fmt.Printf("the report of %s for %s, at the tick of %s\n", job.Args.Of, name, at.In(zone))
			return nil
		}
		fmt.Printf("the report of %s, by hand\n", job.Args.Of)
		return nil
	})
	if now {
		return once(ctx, store, worker, nightly)
	}
	return worker.Run(ctx)
}

// once makes the job of a tick, runs it, and prints when the next are.
func once(ctx context.Context, store onceq.Store, worker *onceq.Worker, p onceq.Periodic) error {
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.PutPeriodic(ctx, p); err != nil {
		return err
	}
	for range 2 { // the second is a duplicate: the first has not been run
		receipt, err := client.TickNow(ctx, p.Name)
		if err != nil {
			return err
		}
		fmt.Println("tick:", receipt.Outcome)
	}
	if err := worker.Run(ctx); err != nil {
		return err
	}
	ticks, err := onceq.NextTicks(p.Schedule, p.Location, time.Date(2026, 10, 23, 0, 0, 0, 0, p.Location), 5)
	for _, at := range ticks {
		fmt.Println("then", at)
	}
	return err
}

// The application of ../before behind a guard: it sends one welcome.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/hibiken/asynq"

	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardasynq"
	"github.com/onceq/onceq/storeurl"
)

func main() {
	redis := asynq.RedisClientOpt{Addr: os.Args[1]}
	store, err := storeurl.Open(context.Background(), "redis://"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	g, err := guard.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	client := guardasynq.NewClient(asynq.NewClient(redis), g)
	defer client.Close()
	for range 3 {
		if _, err := client.Enqueue(asynq.NewTask("welcome", []byte(`{"user": 42}`))); err != nil {
			fmt.Println("not enqueued:", err)
		}
	}
	mux := asynq.NewServeMux()
	mux.Use(guardasynq.Middleware(g))
	mux.HandleFunc("welcome", func(_ context.Context, task *asynq.Task) error {
		fmt.Printf("welcome %s\n", task.Payload())
		return nil
	})
	if err := asynq.NewServer(redis, asynq.Config{LogLevel: asynq.ErrorLevel}).Run(mux); err != nil {
		log.Fatal(err)
	}
}

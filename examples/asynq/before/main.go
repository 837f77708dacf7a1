// An application on asynq, which sends a welcome three times.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/hibiken/asynq"
)

func main() {
	redis := asynq.RedisClientOpt{Addr: os.Args[1]}
	client := asynq.NewClient(redis)
	defer client.Close()
	for range 3 {
		if _, err := client.Enqueue(asynq.NewTask("welcome", []byte(`{"user": 42}`))); err != nil {
			fmt.Println("not enqueued:", err)
		}
	}
	mux := asynq.NewServeMux()
	mux.HandleFunc("welcome", func(_ context.Context, task *asynq.Task) error {
		fmt.Printf("welcome %s\n", task.Payload())
		return nil
	})
	if err := asynq.NewServer(redis, asynq.Config{LogLevel: asynq.ErrorLevel}).Run(mux); err != nil {
		log.Fatal(err)
	}
}

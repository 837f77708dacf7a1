// Command webhook receives signed webhooks. Each delivery is one job, however
// often its sender repeats it, and is answered before it is handled.
//
//	go run ./webhook -secret s3cret
package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

var (
	listen = flag.String("listen", "127.0.0.1:8080", "address")
	secret = flag.String("secret", "", "what the sender signs with; needed")
	file   = flag.String("file", "webhook.db", "SQLite file")
)

// threeDays is longer than any sender repeats a delivery.
const threeDays = 72 * time.Hour

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	if *secret == "" {
		return fmt.Errorf("-secret is missing")
	}
	store, err := sqlitestore.Open(*file, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	worker, err := onceq.NewWorker(store, nil)
	if err != nil {
		return err
	}
	worker.HandleKind("webhook", func(_ context.Context, job *onceq.JobRow) error {
		fmt.Printf("handled %s: %s\n", job.Meta["delivery"], job.Args)
		return nil
	})
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: receiver(client), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	fmt.Printf("listening on http://%s\n", l.Addr())
	return worker.Run(ctx)
}

// receiver answers 202 for a delivery that is stored now, 200 for one that was,
// and 503 where the store is away: then the sender repeats it.
func receiver(client *onceq.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, onceq.DefaultMaxArgs))
		delivery := r.Header.Get("X-Delivery")
		mac := hmac.New(sha256.New, []byte(*secret))
		mac.Write(body)
		signature, _ := hex.DecodeString(r.Header.Get("X-Signature"))
		switch {
		case err != nil || delivery == "":
			http.Error(w, cmp.Or(err, fmt.Errorf("X-Delivery is missing")).Error(), http.StatusBadRequest)
			return
		case !hmac.Equal(signature, mac.Sum(nil)):
			http.Error(w, "the signature is wrong", http.StatusForbidden)
			return
		}
		receipt, err := client.Enqueue(r.Context(), onceq.JSON("webhook", body),
			onceq.UniqueKey(delivery), onceq.Unique{Until: onceq.UntilWindowEnds, Window: threeDays},
			onceq.Meta(map[string]any{"delivery": delivery}))
		switch _, invalid := err.(*onceq.InvalidError); {
		case invalid:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		case receipt.Duplicate():
			fmt.Fprintln(w, "known as", receipt.Job.ID)
		default:
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintln(w, "stored as", receipt.Job.ID)
		}
	})
}

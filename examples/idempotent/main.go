// Command idempotent charges a card once, however often its client sends the
// request: a repeat with the same Idempotency-Key gets the first answer.
//
//	go run ./idempotent
//	curl -i -u ann: -H 'Idempotency-Key: order-7' -d cents=995 http://127.0.0.1:8080/charges
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardhttp"
	"github.com/onceq/onceq/storeurl"
)

var (
	listen = flag.String("listen", "127.0.0.1:8080", "address")
	url    = flag.String("store", "sqlite:idempotent.db", "store of the keys; PostgreSQL or Redis for several servers")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	store, err := storeurl.Open(ctx, *url)
	if err != nil {
		return err
	}
	defer store.Close()
	g, err := guard.New(store, nil)
	if err != nil {
		return err
	}
	defer g.Close()
	idempotent, err := guardhttp.New(g, guardhttp.Config{
		// Who asks is part of the key, so that nobody gets the answer of another.
		Principal: func(r *http.Request) string { user, _, _ := r.BasicAuth(); return user },
		Required:  true,
		Wait:      5 * time.Second, // a repeat that comes while the first still runs
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotent(http.HandlerFunc(charge)))
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(end)
	})
	fmt.Printf("listening on http://%s\n", l.Addr())
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

var charges atomic.Int64

func charge(w http.ResponseWriter, r *http.Request) {
	n := charges.Add(1)
	fmt.Printf("charge %d: %s cents\n", n, r.PostFormValue("cents"))
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "charge %d\n", n)
}

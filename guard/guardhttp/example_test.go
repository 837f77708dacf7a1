package guardhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardhttp"
	"github.com/onceq/onceq/storeurl"
)

// A client that got no answer sends its payment again, with the same key.
func Example() {
	folder, err := os.MkdirTemp("", "payments")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	store, err := storeurl.Open(context.Background(), "sqlite:"+filepath.Join(folder, "keys.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	g, err := guard.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	idempotent, err := guardhttp.New(g, guardhttp.Config{
		Principal: func(r *http.Request) string { user, _, _ := r.BasicAuth(); return user },
	})
	if err != nil {
		log.Fatal(err)
	}
	charge := func(w http.ResponseWriter, r *http.Request) {
		amount, _ := io.ReadAll(r.Body)
		fmt.Printf("the card is charged with %s\n", amount)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "charge 1")
	}
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotent(http.HandlerFunc(charge)))
	server := httptest.NewServer(mux)
	defer server.Close()

	for range 2 {
		r, _ := http.NewRequest("POST", server.URL+"/charges", strings.NewReader("5 €"))
		r.SetBasicAuth("ann", "secret")
		r.Header.Set("Idempotency-Key", "order-7")
		resp, err := server.Client().Do(r)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%d %s replayed=%q\n", resp.StatusCode, body, resp.Header.Get("Idempotency-Replayed"))
	}
	// Output:
	// the card is charged with 5 €
	// 201 charge 1 replayed=""
	// 201 charge 1 replayed="true"
}

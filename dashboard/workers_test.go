package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// join gets a name for a worker.
func (w *world) join(name string) string {
	w.Helper()
	a := w.is(w.ask("POST", "workers", fmt.Sprintf(`{"name":%q,"queues":{"default":1},"kinds":null,
		"about":{"lang":"test","host":"h","pid":1}}`, name)), http.StatusCreated)
	if a.at("beat_ms") != 20000.0 || a.at("lease_ms") != 60000.0 {
		w.Error(a.body)
	}
	return a.at("worker").(string)
}

// fetch fetches one job without waiting. runs is the list in hand, as JSON.
func (w *world) fetch(worker string, no int, runs string) answer {
	w.Helper()
	return w.is(w.ask("POST", "fetch", fmt.Sprintf(
		`{"worker":%q,"no":%d,"runs":%s,"queues":{"default":1},"kinds":null,"wait_ms":0}`, worker, no, runs)),
		http.StatusOK)
}

func (w *world) finish(id, worker string, run int, outcome string) answer {
	w.Helper()
	return w.ask("POST", "jobs/"+id+"/finish",
		fmt.Sprintf(`{"worker":%q,"run":%d,"outcome":%q,"error":"no","delay_ms":1000,
		"result":{"n":1}}`, worker, run, outcome))
}

func TestAWorkerFetchesExtendsAndFinishes(t *testing.T) {
	onStores(t, testAWorkerFetchesExtendsAndFinishes)
}

func testAWorkerFetchesExtendsAndFinishes(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	me := w.join("py")
	if a := w.is(w.ask("GET", "workers", ""),
		http.StatusOK); a.at("workers/0/worker") != "http/"+w.config.Who(w.request("GET",
		"jobs", ""))+"/"+me || a.at("workers/0/about/lang") != "test" {
		t.Error(a.body)
	}
	id := w.enqueue(`{"kind":"mail","args":{"to":1},"unique":true}`)
	w.fetch(me, 1, "[]") // this answer is lost
	a := w.fetch(me, 2, "null")
	if a.at("jobs/0/id") != id || a.at("jobs/0/attempt") != 1.0 || a.at("jobs/0/run") != 2.0 ||
		a.at("jobs/0/args/to") != 1.0 {
		t.Fatal(a.body)
	}
	hand := fmt.Sprintf(`[{"id":%q,"run":2}]`, id)
	if a := w.fetch(me, 3, hand); len(a.json["jobs"].([]any))+len(a.json["lost"].([]any)) != 0 ||
		a.json["next_due_ms"] != nil {
		t.Error(a.body)
	}
	w.is(w.ask("POST", "jobs/"+id+"/cancel", ""), http.StatusOK)
	a = w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"runs":%s,"fetches_done":3}`, me, hand)), http.StatusOK)
	if a.at("stop/0/id") != id {
		t.Error(a.body)
	}
	w.problem(w.finish(id, me, 1, "completed"), "lease-lost", "nothing has changed") // a late finish
	for range 2 {
		if a := w.is(w.finish(id, me, 2, "completed"), http.StatusOK); a.json["state"] != "completed" {
			t.Error(a.body)
		}
	}
	if a := w.is(w.ask("GET", "jobs/"+id, ""), http.StatusOK); a.at("result/n") != 1.0 {
		t.Error(a.body)
	}
	w.problem(w.finish("nope", me, 1, "completed"), "gone", "not kept")
	w.problem(w.finish(id, me, 2, "done"), "invalid", `\"snoozed\"`)
	w.problem(w.ask("POST", "fetch", `{"worker":"py","no":1,"queues":{"default":1}}`), "invalid", "POST /workers")
	w.problem(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":0,"queues":{"default":1}}`, me)), "invalid", "no")
	w.problem(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":1,"queue":"default"}`, me)), "invalid",
		`did you mean \"queues\"?`)
	w.problem(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":"1"}`, me)), "invalid", "no")
	w.problem(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":1,"queues":{"default":1},"wait_ms":30001}`, me)),
		"invalid",
		"wait_ms")
	w.problem(w.ask("POST", "workers", `{"name":"a/b"}`), "invalid", "name")

	// A token cannot act for the worker of another.
	id = w.enqueue(`{"kind":"mail"}`)
	w.token = workToken
	mine := w.join("py")
	w.fetch(mine, 1, "[]")
	w.token = otherToken
	w.problem(w.finish(id, mine, 1, "completed"), "lease-lost", "")
	w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"leave":true}`, mine)), http.StatusOK)
	w.token = operateToken
	if a := w.is(w.ask("GET", "jobs/"+id, ""), http.StatusOK); a.at("state") != "running" {
		t.Error(a.body)
	}
	w.token = workToken
	w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"leave":true}`, mine)), http.StatusOK)
	w.token = operateToken
	if a := w.is(w.ask("GET", "jobs/"+id, ""), http.StatusOK); a.at("state") != "available" || a.at("attempt") != 0.0 {
		t.Error(a.body)
	}
	without := serve(t, func(c *Config) { c.Remote = nil })
	without.problem(without.ask("POST", "fetch", `{}`), "not-found", "")
}

// server serves a world over a real connection.
func (w *world) server(remote bool) *httptest.Server {
	w.Helper()
	s := httptest.NewServer(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.config.Remote.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Error(err)
		}
		s.Close()
	})
	return s
}

// givers says when a fetch has come to the store.
type givers struct {
	onceq.Store
	came chan struct{}
}

func (g *givers) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	f, err := g.Store.Fetch(ctx, r)
	select {
	case g.came <- struct{}{}:
	default:
	}
	return f, err
}

func TestAPollWhoseClientIsGoneGivesNothingAway(t *testing.T) {
	store := &givers{memstore.New(nil), make(chan struct{}, 1)}
	w := serveOn(t, store, nil)
	s := w.server(true)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/api/v1/fetch", strings.NewReader(fmt.Sprintf(
		`{"worker":%q,"no":1,"queues":{"default":1}}`, w.join("py"))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+operateToken)
	gone := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(r)
		gone <- err
	}()
	<-store.came
	cancel()
	if err := <-gone; err == nil {
		t.Error("the client got an answer")
	}
	id := w.enqueue(`{"kind":"mail"}`)
	other := w.join("py")
	for no := 1; ; no++ { // the server may give the job to the one that is gone, and take it back
		a := w.is(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":%d,"queues":{"default":1}}`, other, no)),
			http.StatusOK)
		if a.at("jobs/0/id") == id {
			if a.at("jobs/0/attempt") != 1.0 {
				t.Error(a.body)
			}
			break
		}
	}
}

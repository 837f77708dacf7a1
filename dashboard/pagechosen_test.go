package dashboard

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestTheQuestionBeforeAChangeOfChosenJobsCountsThoseThatCanChange(t *testing.T) {
	w := serve(t, nil)
	for i := range 4 {
		w.enqueue(fmt.Sprintf(`{"kind":"mail","id":"m%d"}`, i))
	}
	w.is(w.ask("POST", "jobs/m3/cancel", ""), http.StatusOK)
	state := func(id string) onceq.State {
		j, err := w.client.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return j.State
	}
	w.says(w.visit("jobs"), http.StatusOK, `name="id" value="m0" form="chosen"`, "Those you chose")
	chosen := []string{"chosen", "yes", "id", "m0", "id", "m1", "id", "m1", "id", "m3", "id", "gone"}
	w.says(w.visit("jobs/cancel", chosen...), http.StatusOK, "Cancel 2 jobs?",
		"2 of the 4 that you chose will be cancelled", "2 jobs stay as they are", `name="id" value="m0"`)
	if state("m0") != onceq.Available {
		t.Error("m0 was cancelled before anybody said so")
	}
	w.says(w.visit("jobs/cancel", append(chosen, "sure", "yes")...), http.StatusOK, "2 jobs cancelled",
		"2 jobs stay as they are")
	if state("m0") != onceq.Cancelled || state("m1") != onceq.Cancelled || state("m2") != onceq.Available {
		t.Error(state("m0"), state("m1"), state("m2"))
	}
	a := w.says(w.visit("jobs/cancel", "id", "m0"), http.StatusOK, "Cancel 0 jobs?", "0 of the 1",
		"1 job stays as it is")
	if strings.Contains(a.body, "<form method=\"post\" action=\"cancel\"") {
		t.Error("it asks although there is nothing to do")
	}
}

// A form with no job chosen must not mean all jobs.
func TestAChangeOfNoChosenJobIsRefused(t *testing.T) {
	w := serve(t, nil)
	w.enqueue(`{"kind":"mail","id":"m"}`)
	w.says(w.visit("jobs/cancel", "chosen", "yes"), http.StatusUnprocessableEntity, "choose a job first")
	w.says(w.visit("jobs/cancel", "chosen", "yes", "sure", "yes"), http.StatusUnprocessableEntity, "choose a job first")
	w.says(w.visit("jobs/cancel", "id", "m", "kind", "mail"), http.StatusUnprocessableEntity,
		"a filter are both there")
	many := []string{"chosen", "yes"}
	for i := range mostChosen + 1 {
		many = append(many, "id", fmt.Sprint("m", i))
	}
	w.says(w.visit("jobs/cancel", many...), http.StatusUnprocessableEntity, "200 times at most")
	w.token = readToken
	w.is(w.visit("jobs/cancel", "id", "m", "sure", "yes"), http.StatusForbidden)
	if a := w.says(w.visit("jobs"), http.StatusOK, "mail"); strings.Contains(a.body, "checkbox") {
		t.Error("who may only read is asked to choose")
	}
}

// A page that fails says the numbers that the store told last.
func TestAPageThatFailsSaysTheLastNumbers(t *testing.T) {
	w := serve(t, nil)
	w.enqueue(`{"kind":"mail","id":"m"}`)
	w.is(w.visit(""), http.StatusOK)
	w.client.Close() // the store is away
	w.says(w.visit("jobs"), http.StatusServiceUnavailable, "The store last told the number of jobs", "1 waited, 0 ran")
	explain := []string{"kind", "mail", "args", "{}"}
	w.says(w.visit("explain", explain...), http.StatusServiceUnavailable, "1 waited, 0 ran")
	w.token = enqueueToken // may explain, and may not read
	if a := w.is(w.visit("explain", explain...), http.StatusServiceUnavailable); strings.Contains(a.body, "waited") {
		t.Error("it says so to a role without read: ", a.body)
	}
	w.token = ""
	if a := w.visit("jobs"); strings.Contains(a.body, "1 waited") {
		t.Error("it says so to anybody: ", a.body)
	}
}

// The queue of ticks is onceq's own: what it means that nobody serves it is said.
func TestTheOverviewSaysThatSchedulesMakeNoJobsWithoutAWorker(t *testing.T) {
	w := serve(t, nil)
	_, err := w.client.PutPeriodic(t.Context(), onceq.Periodic{Name: "often", Schedule: "@every 1s",
		Args: onceq.JSON("mail", []byte("{}"))})
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return strings.Contains(w.visit("").body, "schedules make no jobs without one") })
	if a := w.visit(""); strings.Contains(a.body, "serves queue onceq.periodic") {
		t.Error(a.body)
	}
	_, err = w.store.Extend(t.Context(), onceq.ExtendRequest{Worker: "web-1", Lease: time.Minute,
		About: []byte(`{"host":"web-1","lang":"go","queues":{"default":10}}`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"", "workers"} {
		if a := w.visit(page); strings.Contains(a.body, "without one") || strings.Contains(a.body, "onceq.periodic") {
			t.Errorf("%q says so although a worker runs: %s", page, a.body)
		}
	}
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

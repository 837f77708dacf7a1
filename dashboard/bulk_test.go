package dashboard

import (
	"github.com/onceq/onceq"

	"fmt"
	"net/http"
	"testing"
)

func TestABulkChangeWithoutAFilterIsRefused(t *testing.T) {
	onStores(t, testABulkChangeWithoutAFilterIsRefused)
}

func testABulkChangeWithoutAFilterIsRefused(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	w.enqueue(`{"kind":"mail"}`)
	before := dump(t, w.store)
	for _, op := range []string{"cancel", "retry", "run", "delete"} {
		for _, body := range []string{"", `{}`, `{"filter":{}}`, `{"filter":{"queue":""}}`, `{"filter":null}`} {
			w.problem(w.ask("POST", "jobs/"+op, body), "invalid", "every job")
		}
		w.problem(w.ask("POST", "jobs/"+op, `{"filter":{"queu":"mail"}}`), "invalid", "queu")
		w.problem(w.ask("POST", "jobs/"+op, `{"al":true}`), "invalid", `did you mean \"all\"?`)
		w.problem(w.ask("POST", "jobs/"+op, `{"filter":{"state":["done"]}}`), "invalid", "done")
	}
	w.problem(w.ask("POST", "jobs/cancel", `{"all":true,"without_key":true}`), "invalid", "without_key")
	if after := dump(t, w.store); after != before {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
	if a := w.is(w.ask("POST", "jobs/delete", `{"all":true,"dry_run":true}`), http.StatusOK); a.at("changed") != 1.0 ||
		dump(t, w.store) != before {
		t.Error(a.body)
	}
	if a := w.is(w.ask("POST", "jobs/delete", `{"all":true}`), http.StatusOK); a.at("changed") != 1.0 ||
		a.json["cursor"] != nil || dump(t, w.store) == before {
		t.Error(a.body)
	}
}

func TestABulkChangeOverHTTPGoesOnFromItsCursor(t *testing.T) {
	onStores(t, testABulkChangeOverHTTPGoesOnFromItsCursor)
}

func testABulkChangeOverHTTPGoesOnFromItsCursor(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for i := range 5 {
		w.enqueue(fmt.Sprintf(`{"kind":"mail","id":"m%d"}`, i))
		w.enqueue(fmt.Sprintf(`{"kind":"other","id":"o%d"}`, i))
	}
	w.is(w.ask("POST", "jobs/m3/cancel", ""), http.StatusOK)
	cursor, changed, passed, calls := "", 0.0, 0.0, 0
	for calls = 0; calls == 0 || cursor != ""; calls++ {
		a := w.is(w.ask("POST", "jobs/cancel", fmt.Sprintf(`{"filter":{"kind":"mail"},"limit":2,"cursor":%q}`, cursor)),
			http.StatusOK)
		changed += a.json["changed"].(float64)
		passed += a.json["passed_over"].(float64)
		if all := a.json["refused"].([]any); len(all) > 0 && (a.at("refused/0/id") != "m3" ||
			a.at("refused/0/type") != "urn:onceq:wrong-state") {
			t.Error(a.body)
		}
		first := cursor == ""
		if cursor, _ = a.json["cursor"].(string); first {
			w.problem(w.ask("POST", "jobs/cancel", fmt.Sprintf(`{"filter":{"kind":"other"},"cursor":%q}`, cursor)),
				"invalid", "cursor")
			w.problem(w.ask("POST", "jobs/run", fmt.Sprintf(`{"filter":{"kind":"mail"},"cursor":%q}`, cursor)),
				"invalid", "cursor")
		}
	}
	if changed != 4 || passed != 1 || calls < 2 {
		t.Errorf("%v changed, %v passed over, %d calls", changed, passed, calls)
	}
	a := w.is(w.ask("GET", "jobs?state=cancelled", ""), http.StatusOK)
	if n := len(a.json["jobs"].([]any)); n != 5 {
		t.Errorf("%d jobs are cancelled", n)
	}
}

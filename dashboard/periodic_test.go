package dashboard

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestASchedulesLifeOverHTTP(t *testing.T) { onStores(t, testASchedulesLifeOverHTTP) }

func testASchedulesLifeOverHTTP(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	if all := w.is(w.ask("GET", "periodic", ""), http.StatusOK); len(all.at("schedules").([]any)) != 0 {
		t.Error(all.body)
	}
	const nightly = `{"schedule":"30 2 * * *","zone":"Europe/Berlin","catch_up":"all","jitter":"1m",
		"job":{"kind":"report","args":{"of":"yesterday"},"queue":"slow","unique":true}}`
	a := w.is(w.ask("PUT", "periodic/a%2Fb", nightly), http.StatusOK)
	for name, want := range map[string]any{"name": "a/b", "schedule": "30 2 * * *", "zone": "Europe/Berlin",
		"kind": "report", "queue": "slow", "catch_up": "all", "jitter_ms": 60000.0, "source": "store",
		"paused": false, "last_job": nil} {
		if a.at(name) != want {
			t.Errorf("%s is %v, want %v", name, a.at(name), want)
		}
	}
	if again := w.is(w.ask("PUT", "periodic/a%2Fb", nightly), http.StatusOK); again.body != a.body {
		t.Errorf("put again it is another: %s", again.body)
	}
	if one := w.is(w.ask("GET", "periodic/a%2Fb", ""), http.StatusOK); one.body != a.body {
		t.Error(one.body)
	}
	if all := w.is(w.ask("GET", "periodic", ""), http.StatusOK); all.at("schedules/0/name") != "a/b" {
		t.Error(all.body)
	}
	paused := w.is(w.ask("POST", "periodic/a%2Fb/pause", ""), http.StatusOK)
	if paused.at("paused") != true || paused.at("next") != nil {
		t.Error(paused.body)
	}
	ran := w.is(w.ask("POST", "periodic/a%2Fb/run", "{}"), http.StatusCreated)
	if ran.at("job/kind") != "report" || ran.at("job/queue") != "slow" {
		t.Error(ran.body)
	}
	if again := w.is(w.ask("POST", "periodic/a%2Fb/run", ""), http.StatusOK); again.at("outcome") != "skipped" {
		t.Error(again.body)
	}
	if resumed := w.is(w.ask("POST", "periodic/a%2Fb/resume", ""), http.StatusOK); resumed.at("next") == nil {
		t.Error(resumed.body)
	}
	if gone := w.is(w.ask("DELETE", "periodic/a%2Fb", ""), http.StatusOK); gone.at("name") != "a/b" {
		t.Error(gone.body)
	}
	for _, call := range []string{"GET periodic/a%2Fb", "DELETE periodic/a%2Fb", "POST periodic/a%2Fb/pause",
		"POST periodic/a%2Fb/resume", "POST periodic/a%2Fb/run"} {
		method, path, _ := strings.Cut(call, " ")
		w.problem(w.ask(method, path, ""), "not-found", "")
	}
}

func TestAScheduleThatIsWrongIsRefusedByItsMember(t *testing.T) {
	onStores(t, testAScheduleThatIsWrongIsRefusedByItsMember)
}

func testAScheduleThatIsWrongIsRefusedByItsMember(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for body, field := range map[string]string{
		`{"schedule":"30 2 * *","job":{"kind":"r"}}`:                              "schedule",
		`{"job":{"kind":"r"}}`:                                                    "schedule",
		`{"schedule":"@daily"}`:                                                   "job",
		`{"schedule":"@daily","job":{"args":1}}`:                                  "job/kind",
		`{"schedule":"@daily","job":{"kind":"r","priority":44}}`:                  "job/priority",
		`{"schedule":"@daily","job":{"kind":"r","delay":"1m"}}`:                   "job/delay",
		`{"schedule":"@daily","zone":"Nowhere","job":{"kind":"r"}}`:               "zone",
		`{"schedule":"@daily","zone":"Local","job":{"kind":"r"}}`:                 "zone",
		`{"schedule":"@daily","catch_up":"some","job":{"kind":"r"}}`:              "catch_up",
		`{"schedule":"@daily","jitter":"25h","job":{"kind":"r"}}`:                 "jitter",
		`{"schedule":"@daily","jitter":"x","job":{"kind":"r"}}`:                   "jitter",
		`{"schedule":"@daily","jitter_ms":-1,"job":{"kind":"r"}}`:                 "jitter_ms",
		`{"schedule":"@daily","jitter":"1s","jitter_ms":1000,"job":{"kind":"r"}}`: "jitter",
		`{"schedul":"@daily","job":{"kind":"r"}}`:                                 "schedul",
	} {
		if a := w.problem(w.ask("PUT", "periodic/x", body), "invalid", ""); a.at("field") != field {
			t.Errorf("%s: field %v, want %s: %s", body, a.at("field"), field, a.body)
		}
	}
	if a := w.problem(w.ask("PUT", "periodic/"+strings.Repeat("x", 201), `{"schedule":"@daily","job":{"kind":"r"}}`),
		"invalid", "200"); a.at("field") != "name" {
		t.Error(a.body)
	}
}

func TestTheNextTicksOfASchedule(t *testing.T) { onStores(t, testTheNextTicksOfASchedule) }

func testTheNextTicksOfASchedule(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	a := w.is(w.ask("GET", "ticks?schedule=30+2+*+*+*&zone=America/New_York&after=2026-03-07T12:00:00Z&limit=2", ""),
		http.StatusOK)
	if a.body != `{"ticks":[{"at":"2026-03-08T07:00:00.000Z"},{"at":"2026-03-09T06:30:00.000Z"}]}`+"\n" {
		t.Error(a.body) // the first is in a gap: at 03:00
	}
	if a := w.is(w.ask("GET", "ticks?schedule=@hourly", ""), http.StatusOK); len(a.at("ticks").([]any)) != 10 {
		t.Error(a.body)
	}
	for query, field := range map[string]string{"": "schedule", "schedule=x": "schedule",
		"schedule=@daily&zone=x": "zone", "schedule=@daily&after=x": "after", "schedule=@daily&limit=201": "limit"} {
		if a := w.problem(w.ask("GET", "ticks?"+query, ""), "invalid", ""); a.at("field") != field {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}

func TestAQueueIsPausedForATime(t *testing.T) { onStores(t, testAQueueIsPausedForATime) }

func testAQueueIsPausedForATime(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	w.enqueue(`{"kind":"mail"}`)
	for body, d := range map[string]time.Duration{`{"for":"1h"}`: time.Hour, `{"for_ms":90000}`: 90 * time.Second} {
		before := time.Now()
		a := w.is(w.ask("POST", "queues/default/pause", body), http.StatusOK)
		until, err := time.Parse(time.RFC3339, a.at("paused_until").(string))
		if err != nil || until.Sub(before) < d-time.Second || until.Sub(before) > d+time.Minute {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	if a := w.is(w.ask("POST", "queues/default/pause", ""), http.StatusOK); a.at("paused_until") != nil ||
		a.at("paused") != true {
		t.Error(a.body)
	}
	for body, field := range map[string]string{`{"for":"0s"}`: "for", `{"for":"soon"}`: "for",
		`{"for_ms":0.5}`: "for_ms", `{"for":"1m","for_ms":60000}`: "for", `{"fro":"1m"}`: "fro"} {
		if a := w.problem(w.ask("POST", "queues/default/pause", body), "invalid", ""); a.at("field") != field {
			t.Errorf("%s: %s", body, a.body)
		}
	}
}

func TestExplainNamesTheMembersThatDiffer(t *testing.T) {
	onStores(t, testExplainNamesTheMembersThatDiffer)
}

func testExplainNamesTheMembersThatDiffer(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for both, want := range map[string]string{
		`{"to":1,"a":{"b/c":[1,2],"~":3}} {"a":{"~":3.0,"b/c":[1,3]},"to":1,"cc":null}`: `["/a/b~1c","/cc"]`,
		`{"to":1} {"to":1.0}`: `[]`,
		`{} {"to":1}`:         `["/to"]`,
		`[1] [2]`:             `[""]`,
		`1 {"a":1}`:           `[""]`,
	} {
		a, b, _ := strings.Cut(both, " {")
		if b == "" {
			a, b, _ = strings.Cut(both, " ")
		} else {
			b = "{" + b
		}
		x := w.is(w.ask("POST", "explain", `{"job":{"kind":"m","args":`+a+`},"other":{"kind":"m","args":`+b+`}}`),
			http.StatusOK)
		if !strings.Contains(x.body, `"differ":`+want) {
			t.Errorf("%s: %s", both, x.body)
		}
	}
	x := w.is(w.ask("POST", "explain", `{"job":{"kind":"m","args_base64":"AA=="},"other":{"kind":"m"}}`), http.StatusOK)
	if !strings.Contains(x.body, `"differ":[""]`) {
		t.Error(x.body)
	}
	x = w.is(w.ask("POST", "explain", `{"job":{"kind":"m"},"other":{"kind":"m","args":{"a":1}}}`), http.StatusOK)
	if !strings.Contains(x.body, `"differ":["/a"]`) {
		t.Error(x.body)
	}
}

func TestSystemSaysWhatThisServerIs(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, func(c *Config) { c.Version, c.Store = "v1", "sqlite:q.db" })
		a := w.is(w.ask("GET", "system", ""), http.StatusOK)
		if a.at("version") != "v1" || a.at("store") != "sqlite:q.db" || a.at("max_polls") != 1000.0 ||
			a.at("now") == nil || a.at("streams") != 0.0 {
			t.Error(a.body)
		}
		info, err := w.client.StoreInfo(t.Context())
		if err != nil || a.at("server") != info.Server || a.at("schema") != info.Schema {
			t.Errorf("%+v %v %s", info, err, a.body)
		}
		page := html.UnescapeString(w.visit("system").body)
		for _, line := range append(info.Warnings, info.Server, info.Schema) {
			if !strings.Contains(page, line) || !strings.Contains(a.body, line) {
				t.Errorf("%q is not said:\n%s\n%s", line, a.body, page)
			}
		}
	})
}

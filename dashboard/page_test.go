package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// visit opens a page, or sends a form where there is one.
func (w *world) visit(path string, form ...string) answer {
	w.Helper()
	if form == nil {
		return w.ask("GET", "/"+path, "")
	}
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	body := values.Encode()
	r := w.request("POST", "/"+path, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.send(r, body)
}

// says wants a status, and that a page has these texts.
func (w *world) says(a answer, status int, all ...string) answer {
	w.Helper()
	if w.is(a, status); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		w.Fatalf("it is no page: %v", a.header)
	}
	for _, s := range all {
		if !strings.Contains(a.body, s) {
			w.Fatalf("%q is not on the page: %s", s, a.body)
		}
	}
	return a
}

func TestAPageChangesNothingBeforeItHasAsked(t *testing.T) {
	w := serve(t, nil)
	for i := range 3 {
		w.enqueue(fmt.Sprintf(`{"kind":"mail","id":"m%d"}`, i))
	}
	before := dump(t, w.store)
	w.says(w.visit("jobs/m0/cancel", "state", "available"), http.StatusOK, "Cancel this job?", "is available")
	w.says(w.visit("jobs/cancel", "queue", "default"), http.StatusOK, "3 jobs will be cancelled")
	w.says(w.visit("jobs/retry", "queue", "default"), http.StatusOK, "0 jobs will be retried", "3 jobs match too")
	if after := dump(t, w.store); after != before {
		t.Fatalf("%s became %s", before, after)
	}
	a := w.is(w.visit("jobs/m0/cancel", "state", "available", "sure", "yes"), http.StatusSeeOther)
	if place := a.header.Get("Location"); place != "../../jobs/m0?done=cancel" {
		t.Error(place)
	}
	w.says(w.visit("jobs/m0?done=cancel"), http.StatusOK, "The job is cancelled")
	w.says(w.visit("jobs/m0/delete", "state", "available", "sure", "yes"), http.StatusConflict,
		"was available when you were asked, and is cancelled now")
	w.says(w.visit("jobs/cancel", "state", "available", "sure", "yes"), http.StatusOK, "2 jobs cancelled")
	w.says(w.visit("jobs/nope"), http.StatusNotFound, "deleted, is no longer kept", "To the overview")
	w.says(w.visit("jobs?statee=running"), http.StatusUnprocessableEntity, "did you mean")
}

func TestDeletingManyJobsAsksForAWord(t *testing.T) {
	w := serve(t, nil)
	for i := range typeBeyond + 1 {
		w.enqueue(fmt.Sprintf(`{"kind":"mail","id":"m%d"}`, i))
	}
	w.says(w.visit("jobs/delete", "kind", "mail"), http.StatusOK, "101 jobs will be deleted", "Type <b>delete</b>")
	w.says(w.visit("jobs/delete", "kind", "mail", "sure", "yes"), http.StatusUnprocessableEntity, "Type the word")
	w.says(w.visit("jobs/delete", "kind", "mail", "sure", "yes", "word", "delete"), http.StatusOK, "101 jobs deleted")
}

func TestARetryOfAPageNamesTheHolderAndOffersToGoWithoutTheKey(t *testing.T) {
	w := serve(t, nil)
	body := `{"kind":"mail","id":"%s","args":{"to":1},"unique":true}`
	w.enqueue(fmt.Sprintf(body, "first"))
	w.is(w.ask("POST", "jobs/first/cancel", ""), http.StatusOK)
	w.enqueue(fmt.Sprintf(body, "second"))
	w.says(
		w.visit("jobs/first/retry", "state", "cancelled", "sure", "yes"),
		http.StatusConflict,
		"Job second holds the key",
		"Retry without its key",
	)
	w.is(w.visit("jobs/first/retry", "state", "cancelled", "sure", "yes", "without_key", "yes"), http.StatusSeeOther)
	if j, err := w.client.Job(t.Context(), "first"); err != nil || j.State != onceq.Available || !j.Keyless {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestFindLeadsToWhatIsMeant(t *testing.T) {
	w := serve(t, nil)
	w.enqueue(`{"kind":"mail","id":"a/b"}`)
	hex := strings.Repeat("0a", 32)
	for q, want := range map[string]string{"": "./jobs", "a/b": "./jobs/a%2Fb", "kind:mail": "./jobs?kind=mail",
		hex: "./keys/" + hex, hex[:8]: "./keys?prefix=" + hex[:8],
		"someone@example.com": "./keys?text=someone%40example.com"} {
		a := w.is(w.visit("find?q="+url.QueryEscape(q)), http.StatusSeeOther)
		if place := a.header.Get("Location"); place != want {
			t.Errorf("%q leads to %s, want %s", q, place, want)
		}
	}
}

func TestAStyleMayBeKeptForEver(t *testing.T) {
	w := serve(t, nil)
	page := w.visit("").body
	place := regexp.MustCompile(`static/app-[0-9a-f]+\.css`).FindString(page)
	w.token = ""
	if a := w.is(w.visit(place), http.StatusOK); !strings.Contains(a.header.Get("Cache-Control"), "immutable") ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/css") {
		t.Errorf("%v", a.header)
	}
	w.is(w.visit("static/app.css"), http.StatusNotFound)
}

func TestAKeyIsReleasedOnAPageOnlyFromTheHolderThatWasSeen(t *testing.T) {
	w := serve(t, nil)
	body := `{"kind":"mail","id":"%s","args":{"to":1},"unique":true}`
	w.enqueue(fmt.Sprintf(body, "first"))
	key := w.is(w.ask("GET", "jobs/first", ""), http.StatusOK).at("key").(string)
	place := "keys/" + key
	w.says(
		w.visit(place),
		http.StatusOK,
		"Why is it a duplicate?",
		"first",
		"waits (available)",
		"when the job is finished",
	)
	w.says(w.visit(place+"/release", "holder", "first"), http.StatusOK, "Release this key?", "Type <b>release</b>")
	w.says(w.visit(place+"/release", "holder", "first", "sure", "yes"), http.StatusUnprocessableEntity, "Type the word")
	w.says(w.visit(place+"/release", "holder", "other", "sure", "yes", "word", "release"), http.StatusConflict,
		"job first holds it now")
	if _, err := w.client.Enqueue(t.Context(), onceq.JSON("mail", []byte(`{"to":1}`)), onceq.Unique{},
		onceq.OnConflict(onceq.Reject)); err == nil {
		t.Fatal("the key was released")
	}
	w.is(w.visit(place+"/release", "holder", "first", "sure", "yes", "word", "release"), http.StatusSeeOther)
	w.says(
		w.visit(place+"?done=release"),
		http.StatusOK,
		"Nobody holds this key",
		"The key is released",
		"Taken by a new job",
	)
}

func TestExplainFormSaysWhatEnqueueThenDoes(t *testing.T) {
	w := serve(t, nil)
	form := []string{"kind", "mail", "args", `{"to":1,"note":"a"}`, "fields", "/to"}
	w.says(w.visit("explain", form...), http.StatusOK, "A new job would be made, and hold the key", "/note")
	w.is(w.visit("explain", append(form, "do", "enqueue")...), http.StatusSeeOther)
	w.says(w.visit("explain", form...), http.StatusOK, "Nothing would be written", "the args are the same")
	a := w.is(w.visit("explain", append(form, "do", "enqueue")...), http.StatusSeeOther)
	if place := a.header.Get("Location"); !strings.HasPrefix(place, "./keys/") { // it was a duplicate
		t.Error(place)
	}
	w.says(w.visit("explain", append(form, "other", `{"to":2}`)...), http.StatusOK, "The two are not the same",
		"yes: so the keys differ")
	w.says(w.visit("explain", "kind", "mail", "window", "soon"), http.StatusUnprocessableEntity, "window", "soon")
	w.says(w.visit("explain", "args", "{}"), http.StatusUnprocessableEntity, "kind is missing")
}

func TestMaskedRolesSeeNoArgsOnAnyPage(t *testing.T) {
	w := serve(t, func(c *Config) { c.Args = ArgsHidden })
	w.enqueue(`{"kind":"mail","id":"x","args":{"to":"topsecret"},"unique":true,"meta":{"m":"topsecret"}}`)
	key := w.is(w.ask("GET", "jobs/x", ""), http.StatusOK).at("key").(string)
	paths := []string{"", "jobs", "jobs/x", "keys", "keys/" + key, "conflicts"}
	for _, path := range paths[2:5] {
		w.says(w.visit(path), http.StatusOK, "topsecret") // who may operate sees it
	}
	w.token = readToken
	for _, path := range paths {
		if a := w.is(w.visit(path), http.StatusOK); strings.Contains(a.body, "topsecret") {
			t.Errorf("%q shows it: %s", path, a.body)
		}
	}
	w.says(w.visit("keys?text=topsecret"), http.StatusForbidden, "may not see what keys are made of")
}

func TestABrowserThatAsksForAnUnknownPathGetsAPage(t *testing.T) {
	w := serve(t, nil)
	for _, path := range []string{"/nope", "/jobs/x/y/z", "/favicon.ico"} {
		a := w.is(w.ask("GET", path, "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8"), http.StatusNotFound)
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "<main") {
			t.Errorf("%s: %v %s", path, a.header, a.body)
		}
	}
	w.problem(w.ask("GET", "/nope", ""), "not-found", "docs/http.md")
	w.problem(w.ask("GET", "/api/v1/nope", "", "Accept", "text/html"), "not-found", "docs/http.md")
	w.token = "" // nothing of the store is shown, so nobody has to sign in
	w.is(w.ask("GET", "/nope", "", "Accept", "text/html"), http.StatusNotFound)
}

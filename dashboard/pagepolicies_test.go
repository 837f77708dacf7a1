package dashboard

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestEachFindingIsMadeWhereItFitsAndNowhereElse(t *testing.T) {
	now := time.Now()
	of := func(terms string) onceq.KindTerms {
		return onceq.KindTerms{Queue: "q", Kind: "k", Terms: terms, LastAt: now}
	}
	plain := of("fields=/to until=finished on_conflict=skip")
	other := of("fields=/id until=finished on_conflict=skip")
	long := other
	long.LastAt = now.Add(-48 * time.Hour)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	held := func(n int, text string, k onceq.HeldKey) (all []*onceq.HeldKey) {
		for i := range n {
			one := k
			one.Text = strings.Replace(text, "#", fmt.Sprintf("%02x", i), 1)
			all = append(all, &one)
		}
		return all
	}
	const random, timed = `"8d1f3a#-6c1e-4b0a-9a3e-0c7b5f0d2e11"`, `"0191f3a#-6c1e-7b0a-9a3e-0c7b5f0d2e11"`
	runs := onceq.Count{Ended: [6]int64{2}, RunMS: 4000} // two seconds each
	hung := onceq.HeldKey{State: onceq.Running, Since: ago(time.Hour), FreesWhen: "finished"}
	for name, c := range map[string]struct {
		terms onceq.KindTerms
		all   []onceq.KindTerms
		count onceq.Count
		keys  []*onceq.HeldKey
		want  string
	}{
		"never":         {terms: plain, count: onceq.Count{Enqueued: [6]int64{1000}}, want: "never-conflicts"},
		"too few":       {terms: plain, count: onceq.Count{Enqueued: [6]int64{999}}},
		"some":          {terms: plain, count: onceq.Count{Enqueued: [6]int64{999, 1}}},
		"stood behind":  {terms: plain, count: onceq.Count{Enqueued: [6]int64{999, 0, 0, 0, 1}}},
		"not unique":    {terms: of("unique=false"), count: onceq.Count{Enqueued: [6]int64{5000}}},
		"always":        {terms: plain, count: onceq.Count{Enqueued: [6]int64{10, 990}}, want: "always-conflicts"},
		"mostly":        {terms: plain, count: onceq.Count{Enqueued: [6]int64{11, 989}}},
		"two":           {terms: plain, all: []onceq.KindTerms{plain, other}, want: "two-policies"},
		"two, long ago": {terms: plain, all: []onceq.KindTerms{plain, long}},
		"held by failed": {terms: of("until=succeeded"), count: onceq.Count{Ended: [6]int64{1, 0, 2}},
			want: "held-by-failed"},
		"none failed":   {terms: of("until=succeeded"), count: onceq.Count{Ended: [6]int64{1, 2}}},
		"ttl":           {terms: of("until=finished ttl=1s"), count: runs, want: "ttl-below-run"},
		"ttl is enough": {terms: of("until=finished ttl=3s"), count: runs},
		"window": {terms: of("until=finished window=48h0m0s retention=24h0m0s"),
			want: "window-beyond-retention"},
		"window, kept":     {terms: of("until=finished window=24h0m0s retention=24h0m0s")},
		"window, not kept": {terms: of("until=finished window=1s retention=0s"), want: "window-beyond-retention"},
		"window, not said": {terms: of("until=finished window=48h0m0s")},
		"uuid": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20}},
			keys: held(20, "kind=k queue=q fields /to="+random, onceq.HeldKey{}), want: "random-uuid"},
		"uuid in args": {terms: plain, count: onceq.Count{Enqueued: [6]int64{2000}},
			keys: held(20, `kind=k queue=q args={"to":`+random+"}", onceq.HeldKey{}), want: "random-uuid"},
		"uuid of a caller's key": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20}},
			keys: held(20, "kind=k "+random, onceq.HeldKey{}), want: "random-uuid"},
		"uuid by time": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20}},
			keys: held(20, "kind=k queue=q fields /to="+timed, onceq.HeldKey{})},
		"uuid in most": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20}},
			keys: append(held(20, "kind=k /to="+random, onceq.HeldKey{}), held(1, "kind=k /to=1", onceq.HeldKey{})...)},
		"uuid in few": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20}},
			keys: held(19, "kind=k /to="+random, onceq.HeldKey{})},
		"uuid with a duplicate": {terms: plain, count: onceq.Count{Enqueued: [6]int64{20, 1}},
			keys: held(20, "kind=k /to="+random, onceq.HeldKey{})},
		"long": {terms: plain, count: runs, keys: held(2, "kind=k", hung), want: "held-long"},
		"long, failed": {terms: plain, count: runs, keys: held(1, "kind=k", onceq.HeldKey{State: onceq.Discarded,
			Since: ago(time.Hour), FreesWhen: "deleted"}), want: "held-long"},
		"long, waits": {terms: plain, count: runs, keys: held(1, "kind=k", onceq.HeldKey{State: onceq.Available,
			Since: ago(time.Hour), FreesWhen: "finished"})},
		"long, by the clock": {terms: plain, count: runs, keys: held(1, "kind=k", onceq.HeldKey{State: onceq.Completed,
			Since: ago(time.Hour), FreesAt: now.Add(time.Hour)})},
		"long, as said": {terms: of("until=deleted"), count: runs, keys: held(1, "kind=k", onceq.HeldKey{
			State: onceq.Completed, Since: ago(time.Hour), FreesWhen: "deleted"})},
		"not long": {terms: plain, count: runs, keys: held(1, "kind=k", onceq.HeldKey{State: onceq.Running,
			Since: ago(200 * time.Second), FreesWhen: "finished"})},
		"no run yet": {terms: plain, keys: held(1, "kind=k", hung)},
	} {
		got := ""
		e := evidence{terms: c.terms, all: c.all, count: c.count, keys: c.keys, now: now}
		for _, f := range e.findings() {
			got = words(got, f.Code)
			t.Logf("%s: %s", f.Code, f.Text)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAFindingNamesThePartThatIsRandom(t *testing.T) {
	for text, want := range map[string]string{
		`kind=k queue=q fields /user/id="8d1f3a01-6c1e-4b0a-9a3e-0c7b5f0d2e11"`:   "/user/id",
		`kind=k args={"n":1,"req":"8d1f3a01-6c1e-4b0a-9a3e-0c7b5f0d2e11"}`:        "/req",
		`kind=k key="8d1f3a01-6c1e-4b0a-9a3e-0c7b5f0d2e11"`:                       "the key of the caller",
		`kind=k args={"n":"a8d1f3a01-6c1e-4b0a-9a3e-0c7b5f0d2e11"}`:               "",
		`kind=k args={"n":"8d1f3a01-6c1e-1b0a-9a3e-0c7b5f0d2e11"}`:                "",
		`kind=k args={"n":"8D1F3A01-6C1E-4B0A-BA3E-0C7B5F0D2E11","then":"again"}`: "/n",
	} {
		e := evidence{}
		for range enoughKeys {
			e.keys = append(e.keys, &onceq.HeldKey{Text: text})
		}
		if got := e.randomPart(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestThePageAndTheAPIShowWhatIsFound(t *testing.T) {
	w := serve(t, nil)
	err := w.store.Note(t.Context(), onceq.Notes{Nonce: [16]byte{1}, Tallies: []onceq.Tally{{Kind: "mail", Queue: "q",
		Terms: "until=finished window=48h0m0s retention=1h0m0s", Count: onceq.Count{Enqueued: [6]int64{3, 4}}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.says(w.visit("policies"), http.StatusOK, "window=2d", "window-beyond-retention", "The window of 2d",
		"4 duplicates")
	a := w.is(w.ask("GET", "policies", ""), http.StatusOK)
	if a.at("policies/0/findings/0/code") != "window-beyond-retention" || a.at("policies/0/duplicates") != 4.0 ||
		a.at("policies/0/inserted") != 3.0 {
		t.Error(a.body)
	}
}

func TestAQueueIsPausedOnAPageAndTheDoctorIsAsked(t *testing.T) {
	w := serve(t, nil)
	w.enqueue(`{"kind":"mail","queue":"a/b"}`)
	w.says(w.visit("queues/a%2Fb/pause", "a", "b"), http.StatusUnprocessableEntity, "is not known here")
	w.says(w.visit("queues/a%2Fb/pause", "sure", ""), http.StatusOK, "Pause queue a/b?", "1 job is due in it")
	w.is(w.visit("queues/a%2Fb/pause", "sure", "yes"), http.StatusSeeOther)
	w.says(w.visit("queues"), http.StatusOK, "paused", "a%2Fb/resume")
	w.says(w.visit(""), http.StatusOK, "Queue a/b is paused, and 1 job is due in it")
	w.is(w.visit("queues/a%2Fb/resume", "sure", "yes"), http.StatusSeeOther)
	w.says(w.visit("workers"), http.StatusOK, "that no worker takes, in: <b>a/b</b>", "No worker runs")
	w.is(w.visit("system", "x", ""), http.StatusUnprocessableEntity)
	r := w.request("POST", "/system", "")
	w.is(w.send(r, ""), http.StatusSeeOther)
	w.running.Wait()
	w.says(w.visit("system"), http.StatusOK, "All is well", "1 job")
}

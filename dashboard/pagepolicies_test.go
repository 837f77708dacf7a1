package dashboard

import (
	"net/http"
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
	for name, c := range map[string]struct {
		terms onceq.KindTerms
		all   []onceq.KindTerms
		count onceq.Count
		want  string
	}{
		"never":          {plain, nil, onceq.Count{Enqueued: [6]int64{1000}}, "never-conflicts"},
		"too few":        {plain, nil, onceq.Count{Enqueued: [6]int64{999}}, ""},
		"some":           {plain, nil, onceq.Count{Enqueued: [6]int64{999, 1}}, ""},
		"not unique":     {of("unique=false"), nil, onceq.Count{Enqueued: [6]int64{5000}}, ""},
		"always":         {plain, nil, onceq.Count{Enqueued: [6]int64{10, 990}}, "always-conflicts"},
		"mostly":         {plain, nil, onceq.Count{Enqueued: [6]int64{11, 989}}, ""},
		"two":            {plain, []onceq.KindTerms{plain, other}, onceq.Count{}, "two-policies"},
		"two, long ago":  {plain, []onceq.KindTerms{plain, long}, onceq.Count{}, ""},
		"held by failed": {of("until=succeeded"), nil, onceq.Count{Ended: [6]int64{1, 0, 2}}, "held-by-failed"},
		"none failed":    {of("until=succeeded"), nil, onceq.Count{Ended: [6]int64{1, 2}}, ""},
		"ttl": {of("until=finished ttl=1s"), nil, onceq.Count{Ended: [6]int64{2}, RunMS: 4000},
			"ttl-below-run"},
		"ttl is enough": {of("until=finished ttl=3s"), nil, onceq.Count{Ended: [6]int64{2}, RunMS: 4000}, ""},
	} {
		got := ""
		for _, f := range findings(c.terms, c.all, &c.count) {
			got = words(got, f.Code)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
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

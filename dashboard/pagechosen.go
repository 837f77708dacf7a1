package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// mostChosen is how many jobs can be chosen one by one.
const mostChosen = 200

// changeChosenPage changes the jobs that were chosen in a list,
// after a question that says how many of them can take the step.
func (c *call) changeChosenPage(form url.Values) error {
	ids, op := form["id"], c.params["op"]
	slices.Sort(ids)
	ids = slices.Compact(ids)
	switch {
	case len(ids) == 0:
		return invalid("id", "", "is missing: choose a job first")
	case len(ids) > mostChosen:
		return invalid("id", "", fmt.Sprintf("can be there %d times at most: change all that match instead",
			mostChosen))
	case len(filterIn(form)) > 0:
		return invalid("id", "", "and a filter are both there: keep one")
	}
	q := &question{Action: op, Fields: []field{{"sure", "yes"}, {"chosen", "yes"}},
		Danger: steps[op].danger, Back: "../jobs"}
	for _, id := range ids {
		q.Fields = append(q.Fields, field{"id", id})
	}
	if form.Get("sure") != "yes" {
		return c.askChosen(q, ids)
	}
	changed := 0
	for _, id := range ids {
		can, err := c.canTake(op, id)
		if can && err == nil {
			err = c.takeStep(c.r.Context(), op, id, false)
		}
		switch {
		case err == nil && can:
			changed++
		case err != nil && !contains([]string{"not-found", "wrong-state", "duplicate"}, problemOf(err).kind):
			return err
		}
	}
	q.Title, q.Action, q.Yes = fmt.Sprintf("%s %s", phrase.Count(changed, "job"), steps[op].all), "", ""
	q.Text = "All that you chose are through."
	if n := len(ids) - changed; n > 0 {
		q.More = []string{staysAsItIs(n)}
	}
	return c.ask(http.StatusOK, "jobs", q)
}

// askChosen asks, and says how many of the jobs can take the step
// now.
func (c *call) askChosen(q *question, ids []string) error {
	op, can := c.params["op"], 0
	for _, id := range ids {
		ok, err := c.canTake(op, id)
		if err != nil {
			return err
		}
		if ok {
			can++
		}
	}
	q.Yes = fmt.Sprintf("%s %s", steps[op].verb, phrase.Count(can, "job"))
	q.Title = q.Yes + "?"
	q.Text = fmt.Sprintf("%s of the %s that you chose will be %s.", phrase.Thousands(can), phrase.Thousands(len(ids)),
		steps[op].all)
	if n := len(ids) - can; n > 0 {
		q.More = append(q.More, staysAsItIs(n))
	}
	if can == 0 {
		q.Yes, q.Action = "", ""
	}
	return c.ask(http.StatusOK, "jobs", q)
}

// canTake reports whether a job is there, and in a state for a
// step.
func (c *call) canTake(op, id string) (bool, error) {
	j, err := c.client.Job(c.r.Context(), id)
	if errors.Is(err, onceq.ErrNotFound) {
		return false, nil
	}
	return err == nil && contains(stepsFor(string(j.State)), op), err
}

func staysAsItIs(n int) string {
	if n == 1 {
		return "1 job stays as it is: it is gone, or its state or its key does not allow it."
	}
	return phrase.Thousands(n) + " jobs stay as they are: they are gone, or their state or their key does not allow it."
}

// filterIn is the fields of the filter that a form has.
func filterIn(form url.Values) []field {
	f := filterOf(form)
	return f.Fields()
}

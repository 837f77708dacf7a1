package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// jobFilter is the filter of a list of jobs, as a form has it.
type jobFilter struct{ State, Queue, Kind, Key, Tag, Worker string }

var filterNames = []string{"state", "queue", "kind", "key", "tag", "worker"}

func filterOf(values url.Values) jobFilter {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	return jobFilter{get("state"), get("queue"), get("kind"), get("key"), get("tag"), get("worker")}
}

// Fields are the names of the filter with their values, without
// empty ones.
func (f *jobFilter) Fields() (all []field) {
	for i, value := range []string{f.State, f.Queue, f.Kind, f.Key, f.Tag, f.Worker} {
		if value != "" {
			all = append(all, field{filterNames[i], value})
		}
	}
	return all
}

// Pairs are the fields as parameters.
func (f *jobFilter) Pairs() (all []any) {
	for _, x := range f.Fields() {
		all = append(all, x.Name, x.Value)
	}
	return all
}

// Text says the filter in words.
func (f *jobFilter) Text() string {
	var all []string
	for _, x := range f.Fields() {
		if x.Name == "key" && len(x.Value) == 64 {
			x.Value = x.Value[:8] + "…"
		}
		all = append(all, x.Name+" "+x.Value)
	}
	return strings.Join(all, ", ")
}

func (f *jobFilter) filter() (onceq.JobFilter, error) {
	all := onceq.JobFilter{Queue: f.Queue, Kind: f.Kind, Tag: f.Tag, Worker: f.Worker}
	if f.State != "" {
		all.States = []onceq.State{onceq.State(f.State)}
	}
	if f.Key != "" {
		key, err := onceq.ParseKey(f.Key)
		if err != nil {
			return all, invalid("key", bound(f.Key), "must be a key: 64 hexadecimal digits")
		}
		all.Key = &key
	}
	return all, nil
}

func (c *call) jobsPage() error {
	said := filterOf(c.r.URL.Query())
	f, err := said.filter()
	if err != nil {
		return err
	}
	p, err := c.client.JobsPage(c.r.Context(), f, c.r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	v := c.newView("Jobs", "jobs", struct {
		Filter   *jobFilter
		Filtered bool
		Jobs     []*onceq.JobRow
		Next     string
		Looked   int
		Further  bool // it is not the first page
		Steps    []string
	}{&said, len(said.Fields()) > 0, p.Jobs, p.Next, p.Looked, c.r.URL.Query().Get("cursor") != "",
		stepsFor(said.State)})
	v.Now = p.Now
	v.tell("queues")
	return c.show(http.StatusOK, "jobs", v)
}

// stepsFor are the steps that jobs of a state can take; "" = of
// any.
func stepsFor(state string) []string {
	switch s := onceq.State(state); {
	case s == "":
		return []string{"cancel", "retry", "run", "delete"}
	case s == onceq.Running:
		return []string{"cancel"}
	case s == onceq.Retryable:
		return []string{"retry", "cancel", "delete"}
	case s.Waiting():
		return []string{"run", "cancel", "delete"}
	}
	return []string{"retry", "delete"}
}

// Lately says what happened to a job last, and what comes next. It
// is short: for a row of a table.
func (v *view) Lately(j *onceq.JobRow) string {
	ago := func(t time.Time) string { return phrase.Away(t, v.Now) }
	switch {
	case j.State == onceq.Running && j.CancelRequested:
		return "asked to stop; started " + ago(j.StartedAt)
	case j.State == onceq.Running:
		return words("started", ago(j.StartedAt), "by", clean(j.Worker))
	case j.Behind != "":
		return "starts when " + middle(j.Behind) + " has ended"
	case j.State == onceq.Scheduled, j.State == onceq.Available:
		return "due " + ago(j.RunAt)
	case j.State == onceq.Retryable:
		return "tried again " + ago(j.RunAt)
	case j.State == onceq.Completed && !j.StartedAt.IsZero():
		return words(ago(j.FinishedAt)+", took", phrase.Span(j.FinishedAt.Sub(j.StartedAt)))
	}
	return ago(j.FinishedAt)
}

// field is a hidden field of a form.
type field struct{ Name, Value string }

// question is asked before a change.
type question struct {
	Title  string
	Text   string
	More   []string // what else to know
	Action string   // where the form goes, from here
	Fields []field
	Word   string // to be typed; "" = none
	Wrong  string // what was wrong with what was typed
	Yes    string // what the button says
	Back   string // where "no" leads, from here
	Danger bool
}

// ask answers with a question. A page with scripts shows it in a
// dialog.
func (c *call) ask(status int, here string, q *question) error {
	v := c.newView(q.Title, here, q)
	return c.show(status, "question", v)
}

// steps are what can be done with jobs.
var steps = map[string]struct {
	op             onceq.Op
	one, all, verb string
	danger         bool
}{
	"cancel": {onceq.OpCancel, "Cancel this job?", "cancelled", "Cancel", true},
	"retry":  {onceq.OpRetry, "Run this job again?", "retried", "Retry", false},
	"run":    {onceq.OpRunNow, "Run this job now?", "made due now", "Run now", false},
	"delete": {onceq.OpDelete, "Delete this job?", "deleted", "Delete", true},
}

const (
	askFor     = 200 * time.Millisecond // is how long jobs that match are counted
	changeFor  = 5 * time.Second        // is how long jobs are changed before the page says how far it came
	typeBeyond = 100                    // is how many jobs may be deleted without typing a word
)

// changeJobsPage changes all jobs that match a filter, after a
// question that says how many they are.
func (c *call) changeJobsPage() error {
	op := c.params["op"]
	step, known := steps[op]
	if !known {
		return problem("not-found", "there is no such step")
	}
	form, err := c.form(append([]string{"sure", "word", "cursor", "before", "chosen", "id"}, filterNames...)...)
	if err != nil {
		return err
	}
	if form.Get("chosen") != "" || form["id"] != nil {
		return c.changeChosenPage(form)
	}
	said := filterOf(form)
	f, err := said.filter()
	if err != nil {
		return err
	}
	f.All = len(said.Fields()) == 0
	what := "all jobs"
	if !f.All {
		what = "jobs with " + said.Text()
	}
	q := &question{Title: step.verb + " " + what + "?", Action: op, Fields: append(said.Fields(), field{"sure", "yes"}),
		Yes: step.verb, Danger: step.danger, Back: "../jobs?" + filterQuery(&said)}
	bulk := onceq.Bulk{Op: step.op, Filter: f, DryRun: true, Budget: askFor}
	passed := map[string]int{}
	bulk.PassedOver = func(_ *onceq.JobRow, why error) { passed[problemOf(why).detail]++ }
	count, err := c.client.ChangeSome(c.r.Context(), bulk, "")
	if err != nil {
		return err
	}
	if count.Next != "" {
		q.Text = fmt.Sprintf(
			"At least %s will be %s: counting stopped there.",
			phrase.Count(count.Changed, "job"),
			step.all,
		)
	} else {
		q.Text = fmt.Sprintf("%s will be %s.", phrase.Count(count.Changed, "job"), step.all)
	}
	if count.PassedOver > 0 {
		q.More = append(
			q.More,
			fmt.Sprintf("%s match too and stay as they are: their state or their key does not allow it.",
				phrase.Count(count.PassedOver, "job")),
		)
	}
	if op == "delete" && (count.Changed > typeBeyond || count.Next != "") {
		q.Word = "delete"
	}
	if form.Get("sure") != "yes" {
		return c.ask(http.StatusOK, "jobs", q)
	}
	if q.Word != "" && form.Get("cursor") == "" && form.Get("word") != q.Word {
		q.Wrong = "Type the word to go on."
		return c.ask(http.StatusUnprocessableEntity, "jobs", q)
	}
	return c.changeSome(q, bulk, form, step.all)
}

// changeSome does it, for a while, and says how far it came.
func (c *call) changeSome(q *question, bulk onceq.Bulk, form url.Values, done string) error {
	bulk.DryRun, bulk.Budget, bulk.PassedOver = false, changeFor, nil
	r, err := c.client.ChangeSome(c.r.Context(), bulk, form.Get("cursor"))
	if err != nil {
		return err
	}
	var before int
	_, _ = fmt.Sscan(form.Get("before"), &before) // for people only
	q.Title = fmt.Sprintf("%s %s", phrase.Count(before+r.Changed, "job"), done)
	q.Text, q.More, q.Word = "All that matched are through.", nil, ""
	if r.PassedOver > 0 {
		q.More = []string{
			fmt.Sprintf("%s matched too and stayed as they are: their state or their key does not allow it.",
				phrase.Count(r.PassedOver, "job")),
		}
	}
	if q.Action, q.Yes = "", ""; r.Next != "" {
		q.Text, q.Action, q.Yes = "There are more that match.", c.params["op"], "Go on"
		q.Fields = append(q.Fields, field{"cursor", r.Next}, field{"before", fmt.Sprint(before + r.Changed)})
	}
	return c.ask(http.StatusOK, "jobs", q)
}

func filterQuery(f *jobFilter) string {
	values := url.Values{}
	for _, x := range f.Fields() {
		values.Set(x.Name, x.Value)
	}
	return values.Encode()
}

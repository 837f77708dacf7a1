package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// moment is something that happened, or will.
type moment struct {
	At    time.Time
	Title string
	Text  string
	Tone  string // a class: "", "good", "bad", "warn", "key" or "next"
	Job   string // the job that it is about; "" = none
	Later bool   // it has not happened yet
}

// jobMoments is the life of a job, in its order.
func jobMoments(j *onceq.JobRow, now time.Time) (all []moment) {
	add := func(at time.Time, tone, title, text string) {
		if !at.IsZero() {
			all = append(all, moment{At: at, Title: title, Text: text, Tone: tone, Later: at.After(now)})
		}
	}
	accepted := "A new job."
	if j.Displaced != "" {
		accepted = phrase.Origin(j) + "."
	}
	add(j.EnqueuedAt, "", "Enqueued", accepted)
	for _, e := range j.Errors {
		add(e.At, "bad", fmt.Sprintf("Attempt %d failed", e.Attempt), e.Error)
	}
	switch {
	case j.State.Waiting() && j.Behind != "":
		all = append(all, moment{Title: "Starts when the job before it has ended", Job: j.Behind, Tone: "next",
			Later: true})
	case j.State == onceq.Retryable:
		add(j.RunAt, "next", "Tried again", "")
	case j.State.Waiting():
		add(j.RunAt, "next", "Due", "")
	case j.State == onceq.Running:
		text := "by worker " + j.Worker
		if j.CancelRequested {
			text += "; asked to stop"
		}
		add(j.StartedAt, "good", fmt.Sprintf("Run %d started", j.Run), text)
	default:
		if !j.StartedAt.IsZero() && j.Run > 0 {
			add(j.StartedAt, "", fmt.Sprintf("Run %d started", j.Run), words("by worker", j.Worker))
		}
		tone, text := "good", ""
		if j.State == onceq.Discarded {
			tone, text = "bad", "It is not tried again."
		} else if j.State == onceq.Cancelled {
			tone = "warn"
		}
		if j.SupersededBy != "" {
			text = "Superseded by job " + j.SupersededBy + "."
		}
		add(j.FinishedAt, tone, map[onceq.State]string{onceq.Completed: "Completed", onceq.Discarded: "Failed for good",
			onceq.Cancelled: "Cancelled"}[j.State], text)
		add(j.KeepUntil(), "next", "Removed", "when a worker tidies up from then on")
	}
	slices.SortStableFunc(all, func(a, b moment) int {
		if a.At.IsZero() || b.At.IsZero() {
			return 0
		}
		return a.At.Compare(b.At)
	})
	return all
}

// keyStory says in a sentence who holds the key of a job.
func (v *view) KeyStory(j *onceq.JobRow, held *onceq.HeldKey) string {
	switch {
	case held == nil && j.Keyless:
		return "The key is free: this job gave it up. It was released by hand, or the job was retried without it."
	case held == nil:
		return "The key is free: the next enqueue like this one makes a new job."
	case held.Waiter == j.ID:
		return "Another job holds the key, and this job is the one that waits behind it: the key passes to it."
	case held.Holder != j.ID:
		return "Another job holds the key by now; it " + held.FreesText() + "."
	case held.Waiter != "":
		return "This job holds the key since " + phrase.Away(held.Since, v.Now) +
			". Another job stands behind it, and gets the key when this run has ended."
	}
	return "This job took the key " + phrase.Away(held.Since, v.Now) + ". It " + held.FreesText() + "."
}

func (c *call) jobPage() error {
	ctx := c.r.Context()
	j, err := c.client.Job(ctx, c.params["id"])
	if errors.Is(err, onceq.ErrNotFound) {
		return problem("not-found", fmt.Sprintf("There is no job %q: it was deleted, is no longer kept, or never was.",
			bound(c.params["id"])))
	}
	if err != nil {
		return err
	}
	var held *onceq.HeldKey
	if j.Key != nil {
		if held, err = c.client.Key(ctx, *j.Key); err != nil && !errors.Is(err, onceq.ErrNotFound) {
			return err
		}
	}
	waits, err := c.client.NotRunning(ctx, j)
	if err != nil {
		return err
	}
	if !c.mayReadArgs() {
		strip(j, nil, false)
		if held != nil {
			held.Text = ""
		}
	}
	now := time.Now()
	v := c.newView("Job "+middle(j.ID), "jobs", struct {
		Job     *onceq.JobRow
		Held    *onceq.HeldKey
		Waits   []string
		Moments []moment
		Steps   []string
		Meta    []field
	}{j, held, waits, jobMoments(j, now), stepsFor(string(j.State)), metaFields(j.Meta)})
	v.tellJob(j.ID)
	if j.Key != nil {
		v.tellKey(*j.Key)
	}
	return c.show(http.StatusOK, "job", v)
}

func metaFields(meta map[string]any) (all []field) {
	for name, value := range meta {
		all = append(all, field{name, fmt.Sprint(value)})
	}
	slices.SortFunc(all, func(a, b field) int { return compare(a.Name, b.Name) })
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// changeJobPage changes one job, after a question.
func (c *call) changeJobPage() error {
	id, op := c.params["id"], c.params["op"]
	step, known := steps[op]
	if !known {
		return problem("not-found", "there is no such step")
	}
	form, err := c.form("sure", "state", "without_key")
	if err != nil {
		return err
	}
	j, err := c.client.Job(c.r.Context(), id)
	if err != nil {
		return err
	}
	q := &question{Title: step.one, Text: fmt.Sprintf("Job %s of kind %s, in queue %s, is %s.", middle(j.ID),
		clean(j.Kind), clean(j.Queue), j.State), Action: op, Yes: step.verb + " this job", Danger: step.danger,
		Fields: []field{{"sure", "yes"}, {"state", string(j.State)}}, Back: "../" + url.PathEscape(id)}
	switch {
	case op == "cancel" && j.State == onceq.Running:
		q.More = append(q.More, "It runs: it is asked to stop, and is cancelled when its run has ended.")
	case op == "delete" && j.Key != nil && !j.Keyless:
		q.More = append(q.More, "Its key goes with it, except for what is left of a window.")
	}
	if form.Get("sure") != "yes" {
		return c.ask(http.StatusOK, "jobs", q)
	}
	if was := form.Get("state"); was != "" && was != string(j.State) {
		q.Wrong = fmt.Sprintf("It was %s when you were asked, and is %s now. Nothing has changed.", was, j.State)
		return c.ask(http.StatusConflict, "jobs", q)
	}
	err = c.takeStep(c.r.Context(), op, id, form.Get("without_key") != "")
	if duplicate := (*onceq.DuplicateError)(nil); errors.As(err, &duplicate) {
		q.Title, q.Wrong = "Another job holds its key by now", "Nothing has changed."
		q.Text = fmt.Sprintf("Job %s holds the key; it %s.", middle(duplicate.Holder), duplicate.FreesText())
		q.More = []string{"This job can run all the same, without its key: then both may run at the same time."}
		q.Yes, q.Danger = "Retry without its key", true
		q.Fields = append(q.Fields, field{"without_key", "yes"})
		return c.ask(http.StatusConflict, "jobs", q)
	}
	if err != nil {
		return err
	}
	v := c.newView("", "", nil)
	if op == "delete" {
		return c.redirect(string(v.With("jobs", "done", op)))
	}
	return c.redirect(string(v.To("jobs", id)) + "?done=" + op)
}

func (c *call) takeStep(ctx context.Context, op, id string, withoutKey bool) (err error) {
	switch {
	case op == "cancel":
		_, err = c.client.Cancel(ctx, id)
	case op == "retry" && withoutKey:
		_, err = c.client.Retry(ctx, id, onceq.WithoutKey)
	case op == "retry":
		_, err = c.client.Retry(ctx, id)
	case op == "run":
		_, err = c.client.RunNow(ctx, id)
	case op == "delete":
		err = c.client.Delete(ctx, id)
	}
	return err
}

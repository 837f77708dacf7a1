package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// Frees says when a key is free again, for a row of a table.
func (v *view) Frees(k *onceq.HeldKey) string { return freesIn(k.FreesAt, k.FreesWhen, v.Now) }

func freesIn(at time.Time, when string, now time.Time) string {
	event := map[string]string{"due": "when the job is due", "started": "when the job starts",
		"finished": "when the job is finished", "succeeded": "when the job has succeeded",
		"failed": "when the job has failed", "deleted": "when the job is deleted or no longer kept"}[when]
	switch {
	case at.IsZero() && event == "":
		return "when it is released by hand"
	case at.IsZero():
		return event
	case event == "":
		return phrase.Away(at, now)
	}
	return event + ", at the latest " + phrase.Away(at, now)
}

func (c *call) keysPage() error {
	values := c.r.URL.Query()
	f := onceq.KeyFilter{Queue: values.Get("queue"), Kind: values.Get("kind"),
		From: strings.ToLower(strings.TrimSpace(values.Get("prefix"))), Text: values.Get("text")}
	if f.Text != "" && !c.mayReadArgs() {
		return problem(
			"forbidden",
			"your role may not see what keys are made of: look by queue, kind or the first digits",
		)
	}
	p, err := c.client.KeysPage(c.r.Context(), f, values.Get("cursor"))
	if err != nil {
		return err
	}
	for _, k := range p.Keys {
		hideKey(k, c.mayReadArgs())
	}
	var said []any
	for _, name := range []string{"queue", "kind", "prefix", "text"} {
		said = append(said, name, values.Get(name))
	}
	v := c.newView("Keys", "keys", struct {
		Filter            onceq.KeyFilter
		Pairs             []any
		Filtered, Further bool
		Keys              []*onceq.HeldKey
		Next              string
		Looked            int
	}{f, said, f.Queue+f.Kind+f.From+f.Text != "", values.Get("cursor") != "", p.Keys, p.Next, p.Looked})
	v.Now = p.Now
	v.tell("queues")
	return c.show(http.StatusOK, "keys", v)
}

// keyLook is all that is known of a key.
type keyLook struct {
	Key            onceq.Key
	Held           *onceq.HeldKey // nil = it is free
	Holder, Waiter *onceq.JobRow  // nil = there is none, or it is gone
	Jobs           []*onceq.JobRow
	More           bool // there may be more jobs with this key
	Seen           []onceq.Sighting
	AtLeast        int64 // duplicates of the last day; 0 = not among those that are counted
	Text, Kind     string
	now            time.Time
}

// lookAtKey looks at a key, its jobs, and the duplicates that met it.
func (c *call) lookAtKey(key onceq.Key) (*keyLook, error) {
	l := &keyLook{Key: key}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	var stats onceq.Stats
	var jobs onceq.JobPage
	var wait sync.WaitGroup
	var errs [3]error
	wait.Go(func() {
		l.Held, errs[0] = c.client.Key(ctx, key)
		if errors.Is(errs[0], onceq.ErrNotFound) {
			errs[0] = nil
		}
	})
	wait.Go(func() { stats, errs[1] = c.client.Stats(ctx, onceq.StatsRequest{Hot: 1000, Seen: 1000}) })
	wait.Go(func() { jobs, errs[2] = c.client.JobsPage(ctx, onceq.JobFilter{Key: &key, Limit: 10}, "") })
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	l.Jobs, l.More, l.now = jobs.Jobs, jobs.Next != "", jobs.Now
	for _, s := range stats.Seen {
		if s.Conflict.By == "key" && s.Conflict.Key == key {
			l.Seen = append(l.Seen, s)
		}
	}
	for _, h := range stats.Hot {
		if h.Key == key {
			l.AtLeast, l.Text, l.Kind = h.Count, h.Text, h.Kind
		}
	}
	return l, c.holderOf(ctx, l)
}

// holderOf looks at the jobs that have to do with the key now.
func (c *call) holderOf(ctx context.Context, l *keyLook) (err error) {
	if len(l.Jobs) > 0 {
		l.Text, l.Kind = l.Jobs[0].KeyText, l.Jobs[0].Kind
	}
	if l.Held == nil {
		return nil
	}
	l.Text, l.Kind = l.Held.Text, l.Held.Kind
	get := func(id string) *onceq.JobRow {
		if id == "" || err != nil {
			return nil
		}
		j, e := c.client.Job(ctx, id)
		if e != nil && !errors.Is(e, onceq.ErrNotFound) {
			err = e
		}
		return j
	}
	if !l.Held.Gone {
		l.Holder = get(l.Held.Holder)
	}
	l.Waiter = get(l.Held.Waiter)
	for _, j := range []*onceq.JobRow{l.Waiter, l.Holder} {
		if j != nil && !slices.ContainsFunc(l.Jobs, func(o *onceq.JobRow) bool { return o.ID == j.ID }) {
			l.Jobs = append(l.Jobs, j)
		}
	}
	return err
}

// Verdict says why an enqueue of this key is a duplicate, or is none.
func (l *keyLook) Verdict() string {
	h := l.Held
	if h == nil {
		return "Nobody holds this key. The next enqueue of it makes a new job, and is no duplicate."
	}
	free := "The key is free again " + freesIn(h.FreesAt, h.FreesWhen, l.now) + "."
	switch {
	case h.Gone:
		return "The job that took this key is no longer kept, and what is left of its window or TTL still " +
			"holds it. " + free
	case h.State == onceq.Discarded || h.State == onceq.Cancelled:
		return fmt.Sprintf("The job that holds this key has ended without success (%s), and its terms keep the key. ",
			h.State) + free
	case h.State == onceq.Completed:
		return "The job that holds this key is completed, and its terms keep the key beyond that. " + free
	case h.State == onceq.Running:
		return "The job that holds this key runs now. " + free
	}
	return fmt.Sprintf("The job that holds this key waits (%s). ", h.State) + free
}

// WaysOut say how the next enqueue gets through.
func (l *keyLook) WaysOut() (all []string) {
	h := l.Held
	switch {
	case h == nil:
		return nil
	case h.Gone:
	case h.State == onceq.Running:
		all = append(all, "Wait: the run under way frees it. If it has hung, cancel the job.")
	case h.State.Waiting():
		all = append(all, "Wait until a worker runs the job, or run it now. Cancelling it frees the key too.")
	case h.State.Finished() && h.FreesAt.IsZero():
		all = append(all, "Retry the job, if it should still be done, or delete it: its key goes with it.")
	}
	if !h.FreesAt.IsZero() {
		all = append(all, "Do nothing: the clock frees it "+phrase.Away(h.FreesAt, l.now)+".")
	}
	return append(
		all,
		"Release the key by hand: the job stays as it is, and the next enqueue makes a new job, which may "+
			"run beside it.",
	)
}

// Life is what happened to the key, as far as it is still known, and what comes
// next.
func (l *keyLook) Life() (all []moment) {
	for _, j := range l.Jobs {
		title, tone := "Taken by a new job", "key"
		switch j.Origin {
		case onceq.Coalesced:
			title, tone = "A job was accepted to stand behind the run", "next"
		case onceq.Superseded:
			title = "Taken over by a job that superseded another"
		}
		all = append(all, moment{At: j.EnqueuedAt, Title: title, Tone: tone, Job: j.ID})
		for _, e := range j.Errors {
			all = append(
				all,
				moment{At: e.At, Title: fmt.Sprintf("Attempt %d of the job failed", e.Attempt), Text: e.Error,
					Tone: "bad", Job: j.ID},
			)
		}
		if j.State == onceq.Running {
			all = append(all, moment{At: j.StartedAt, Title: "The job started", Text: words("by worker", j.Worker),
				Tone: "good", Job: j.ID})
		}
		if j.State.Finished() {
			tone := map[onceq.State]string{onceq.Completed: "good", onceq.Discarded: "bad"}[j.State]
			all = append(all, moment{At: j.FinishedAt, Title: "The job was " + string(j.State), Tone: tone, Job: j.ID})
		}
	}
	for i, s := range l.Seen {
		if i == 20 {
			break
		}
		text := words("from", s.From)
		if s.Conflict.ArgsDiffer {
			text += ": its args differed in what is not in the key"
		}
		all = append(all, moment{At: s.At, Title: "Duplicate " + string(s.Outcome), Text: text, Tone: "warn"})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.At.Compare(b.At) })
	if h := l.Held; h != nil {
		if h.Gone && len(l.Jobs) == 0 {
			all = append([]moment{{At: h.Since, Title: "Taken", Tone: "key",
				Text: "by job " + h.Holder + ", which is no longer kept"}}, all...)
		}
		if h.Waiter != "" {
			return append(
				all,
				moment{Title: "Passes to the job that stands behind", Job: h.Waiter, Tone: "next", Later: true},
			)
		}
		all = append(
			all,
			moment{At: h.FreesAt, Title: "Frees", Text: freesIn(h.FreesAt, h.FreesWhen, l.now), Tone: "next",
				Later: true},
		)
	}
	return all
}

// track is the time for which a key is held, from left to right.
type track struct {
	Held, Now float64   // where it was held so far
	Hits      []float64 // duplicates that were seen
	From, To  string
}

// Track draws the time from when the key was taken to when it frees.
func (l *keyLook) Track() *track {
	h := l.Held
	if h == nil || !h.Since.Before(l.now) {
		return nil
	}
	end, t := l.now, &track{From: "taken " + phrase.Away(h.Since, l.now), To: "now"}
	if h.FreesAt.After(l.now) {
		end, t.To = h.FreesAt, "free "+phrase.Away(h.FreesAt, l.now)
	}
	at := func(x time.Time) float64 { return 600 * float64(x.Sub(h.Since)) / float64(end.Sub(h.Since)) }
	t.Now = at(l.now)
	for _, s := range l.Seen {
		if !s.At.Before(h.Since) {
			t.Hits = append(t.Hits, min(at(s.At), 598))
		}
	}
	return t
}

// Outside are the members of the holder's args that are not in the key: two
// enqueues may differ in them, and are duplicates all the same.
func (l *keyLook) Outside() []string {
	if l.Holder == nil {
		return nil
	}
	return outside(l.Text, l.Holder.Args)
}

func outside(text string, args []byte) (all []string) {
	var members map[string]json.RawMessage
	if strings.Contains(text, " args=") || json.Unmarshal(args, &members) != nil {
		return nil
	}
	for name := range members {
		if !strings.Contains(text, " /"+name+"=") && !strings.Contains(text, " /"+name+"/") {
			all = append(all, "/"+name)
		}
	}
	slices.Sort(all)
	return all
}

func (c *call) keyPage() error {
	key, err := c.pathKey()
	if err != nil {
		return err
	}
	l, err := c.lookAtKey(key)
	if err != nil {
		return err
	}
	if !c.mayReadArgs() {
		l.Text = ""
		for _, j := range append(l.Jobs, l.Holder, l.Waiter) {
			if j != nil {
				strip(j, nil, false)
			}
		}
	}
	v := c.newView("Key "+key.String()[:8], "keys", l)
	v.Now = l.now
	v.tell("stats")
	if v.tellKey(key); l.Holder != nil {
		v.tellJob(l.Holder.ID)
	}
	return c.show(http.StatusOK, "key", v)
}

// releasePage releases a key from the holder that somebody saw, after a question.
func (c *call) releasePage() error {
	key, err := c.pathKey()
	if err != nil {
		return err
	}
	form, err := c.form("sure", "word", "holder")
	if err != nil {
		return err
	}
	holder := form.Get("holder")
	held, err := c.client.Key(c.r.Context(), key)
	if errors.Is(err, onceq.ErrNotFound) {
		return problem("not-found", "The key is free already: nobody holds it.")
	}
	if err != nil {
		return err
	}
	q := &question{Title: "Release this key?", Action: "release", Yes: "Release the key", Danger: true, Word: "release",
		Text: fmt.Sprintf("Job %s (%s) gives it up for good. The next enqueue of this key makes a new job.",
			middle(held.Holder), held.State), Back: "../" + key.String(),
		Fields: []field{{"sure", "yes"}, {"holder", held.Holder}}}
	if held.State == onceq.Running && !held.Gone {
		q.More = append(q.More, "The job runs now: a new job may run at the same time.")
	}
	switch {
	case form.Get("sure") != "yes":
		return c.ask(http.StatusOK, "keys", q)
	case holder != held.Holder:
		q.Wrong = fmt.Sprintf("Job %s held the key when you were asked, and job %s holds it now. Nothing has changed.",
			middle(holder), middle(held.Holder))
		return c.ask(http.StatusConflict, "keys", q)
	case form.Get("word") != q.Word:
		q.Wrong = "Type the word to go on."
		return c.ask(http.StatusUnprocessableEntity, "keys", q)
	}
	if err := c.client.ReleaseKey(c.r.Context(), key, onceq.Holder(holder)); err != nil {
		return err
	}
	return c.redirect(string(c.newView("", "", nil).To("keys", key)) + "?done=release")
}

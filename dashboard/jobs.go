package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/internal/wire"
)

const mostRows = 200 // of a page

// orNull is a cursor, which is null on the last page.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var included = []string{"args", "meta", "errors", "result"}

// include reads what of jobs is asked for, and refuses what may not be seen.
func (c *call) include(q *query) (set map[string]bool, err error) {
	set = q.set("include", included...)
	if len(set) > 0 && !c.mayReadArgs() {
		return nil, problem("forbidden",
			"this token may not see what jobs are about: leave include away").with("action",
			ReadArgs)
	}
	return set, q.err
}

// strip leaves of a job what was asked for and may be seen.
func strip(j *onceq.JobRow, set map[string]bool, keyText bool) {
	if !set["args"] {
		j.Args = nil
	}
	if !set["meta"] {
		j.Meta = nil
	}
	if !set["errors"] {
		j.Errors = nil
	}
	if !set["result"] {
		j.Result = nil
	}
	if !keyText {
		j.KeyText = ""
	}
}

func (c *call) listJobs() error {
	q := query{c: c}
	values := c.r.URL.Query()
	f := onceq.JobFilter{Queue: q.text("queue"), Kind: q.text("kind"), Key: q.key("key"), Tag: q.text("tag"),
		Worker: q.text("worker"), After: q.time("after"), Before: q.time("before"), Limit: q.number("limit", mostRows)}
	for _, s := range values["state"] {
		f.States = append(f.States, onceq.State(s))
	}
	set, err := c.include(&q)
	if err != nil {
		return err
	}
	f.Args = set["args"] || set["meta"]
	p, err := c.client.JobsPage(c.r.Context(), f, q.text("cursor"))
	if err != nil {
		return err
	}
	text := c.mayReadArgs()
	for _, j := range p.Jobs {
		strip(j, set, text)
	}
	if p.Jobs == nil {
		p.Jobs = []*onceq.JobRow{}
	}
	return c.answer(http.StatusOK, struct {
		Jobs   []*onceq.JobRow `json:"jobs"`
		Next   *string         `json:"next"`
		Looked int             `json:"looked"`
		Now    jsontext.Time   `json:"now"`
	}{p.Jobs, orNull(p.Next), p.Looked, jsontext.Time(p.Now)})
}

func (c *call) showJob() error {
	q := query{c: c}
	set, err := c.include(&q)
	if err != nil {
		return err
	}
	if q.text("include") == "" && c.mayReadArgs() {
		for _, name := range included {
			set[name] = true
		}
	}
	j, err := c.client.Job(c.r.Context(), c.params["id"])
	if err != nil {
		return err
	}
	return c.answerJob(j, set)
}

// answerJob answers with a job and who holds its key.
func (c *call) answerJob(j *onceq.JobRow, set map[string]bool) error {
	text := c.mayReadArgs()
	strip(j, set, text)
	a := wire.Job{Job: j}
	if j.Key != nil {
		held, err := c.client.Key(c.r.Context(), *j.Key)
		if err != nil && !errors.Is(err, onceq.ErrNotFound) {
			return err
		}
		if err == nil {
			a.Held = held
			hideKey(held, text)
		}
	}
	return c.answer(http.StatusOK, a)
}

// change takes an operator's step with the job of the path.
func (c *call) change(step func(ctx context.Context, id string) (*onceq.JobRow, error)) error {
	id := c.params["id"]
	j, err := step(c.r.Context(), id)
	if refused := (*onceq.InvalidError)(nil); errors.As(err, &refused) {
		p := problemOf(err)
		if now, err := c.client.Job(c.r.Context(), id); err == nil && p.kind == "wrong-state" {
			strip(now, nil, true)
			p = p.with("job", now)
		}
		return p
	}
	if err != nil {
		return err
	}
	return c.answerJob(j, map[string]bool{"args": true, "meta": true, "errors": true, "result": true})
}

// nothing reads a body that has nothing to say.
func (c *call) nothing() error {
	text, err := c.body(smallBody)
	if err != nil {
		return err
	}
	return decode(text, &struct{}{})
}

func (c *call) cancelJob() error {
	if err := c.nothing(); err != nil {
		return err
	}
	return c.change(c.client.Cancel)
}

func (c *call) runJob() error {
	if err := c.nothing(); err != nil {
		return err
	}
	return c.change(c.client.RunNow)
}

func (c *call) retryJob() error {
	var said struct {
		WithoutKey bool `json:"without_key"`
	}
	text, err := c.body(smallBody)
	if err != nil {
		return err
	}
	if err := decode(text, &said); err != nil {
		return err
	}
	var opts []onceq.RetryOption
	if said.WithoutKey {
		opts = append(opts, onceq.WithoutKey)
	}
	return c.change(func(ctx context.Context, id string) (*onceq.JobRow, error) {
		return c.client.Retry(ctx, id,
			opts...)
	})
}

func (c *call) deleteJob() error {
	return c.change(func(ctx context.Context, id string) (*onceq.JobRow, error) {
		j, err := c.client.Job(ctx, id)
		if err != nil {
			return nil, err
		}
		return j, c.client.Delete(ctx, id)
	})
}

func hideKey(k *onceq.HeldKey, text bool) {
	if !text {
		k.Text = ""
	}
}

func (c *call) listKeys() error {
	q := query{c: c}
	f := onceq.KeyFilter{Queue: q.text("queue"), Kind: q.text("kind"), From: q.text("prefix"), Text: q.text("text"),
		Limit: q.number("limit", mostRows)}
	text := c.mayReadArgs()
	if f.Text != "" && !text {
		return problem("forbidden", "this token may not see what keys are made of: leave text away").with("action",
			ReadArgs)
	}
	if q.err != nil {
		return q.err
	}
	p, err := c.client.KeysPage(c.r.Context(), f, q.text("cursor"))
	if err != nil {
		return err
	}
	for _, k := range p.Keys {
		hideKey(k, text)
	}
	if p.Keys == nil {
		p.Keys = []*onceq.HeldKey{}
	}
	return c.answer(http.StatusOK, struct {
		Keys   []*onceq.HeldKey `json:"keys"`
		Next   *string          `json:"next"`
		Looked int              `json:"looked"`
		Now    jsontext.Time    `json:"now"`
	}{p.Keys, orNull(p.Next), p.Looked, jsontext.Time(p.Now)})
}

func (c *call) pathKey() (onceq.Key, error) {
	key, err := onceq.ParseKey(c.params["key"])
	if err != nil {
		return key, invalid("key", bound(c.params["key"]), "must be a key: 64 hexadecimal digits")
	}
	return key, nil
}

func (c *call) showKey() error {
	key, err := c.pathKey()
	if err != nil {
		return err
	}
	held, err := c.client.Key(c.r.Context(), key)
	if err != nil {
		return err
	}
	hideKey(held, c.mayReadArgs())
	return c.answer(http.StatusOK, held)
}

// releaseKey releases a key from the holder that somebody saw, and from no
// other.
func (c *call) releaseKey() error {
	key, err := c.pathKey()
	if err != nil {
		return err
	}
	holder := c.r.URL.Query().Get("holder")
	if holder == "" {
		return invalid("holder", "", "is missing: it is the job that holds the key now, as GET keys/{key} says")
	}
	ctx := c.r.Context()
	err = c.client.ReleaseKey(ctx, key, onceq.Holder(holder))
	if errors.Is(err, onceq.ErrNotFound) {
		if held, e := c.client.Key(ctx, key); e == nil && held.Holder != holder {
			return problem("wrong-holder", "another job holds the key by now").with("holder", held.Holder)
		}
	}
	if err != nil {
		return err
	}
	released := wire.Released{Key: key, Was: holder}
	if held, err := c.client.Key(ctx, key); err == nil {
		released.Now = &held.Holder
	}
	return c.answer(http.StatusOK, released)
}

// queueList is the answer to GET queues. An event of a stream has no Now.
type queueList struct {
	Queues []onceq.QueueInfo `json:"queues"`
	Now    *jsontext.Time    `json:"now,omitempty"`
}

func (d *Dashboard) queues(ctx context.Context) (queueList, error) {
	all, err := d.client.QueuesUpTo(ctx, onceq.MaxCount)
	if all.Queues == nil {
		all.Queues = []onceq.QueueInfo{}
	}
	return queueList{all.Queues, (*jsontext.Time)(&all.Now)}, err
}

func (c *call) listQueues() error {
	all, err := c.queues(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, all)
}

func (c *call) showQueue() error {
	all, err := c.client.QueuesUpTo(c.r.Context(), onceq.MaxCount)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all.Queues, func(q onceq.QueueInfo) bool { return q.Name == c.params["name"] })
	if i < 0 {
		return problem("not-found", "no job is in this queue, and it is not paused")
	}
	return c.answer(http.StatusOK, all.Queues[i])
}

// pauseQueue pauses a queue, without end or for a time.
func (c *call) pauseQueue() error {
	var b struct {
		For   string   `json:"for"`
		ForMS *float64 `json:"for_ms"`
	}
	if err := c.said(&b); err != nil {
		return err
	}
	d, err := length("for", b.For, b.ForMS)
	switch {
	case err != nil:
		return err
	case b.For == "" && b.ForMS == nil:
		return c.changeQueue(c.client.Pause, true)
	case d < time.Millisecond:
		return invalid("for", b.For, "must be 1ms or more: without it the pause lasts until it is resumed")
	}
	return c.changeQueue(func(ctx context.Context, queue string) error {
		return c.client.PauseFor(ctx, queue, d)
	}, true)
}

func (c *call) resumeQueue() error {
	if err := c.nothing(); err != nil {
		return err
	}
	return c.changeQueue(c.client.Resume, false)
}

func (c *call) changeQueue(change func(context.Context, string) error, paused bool) error {
	name := c.params["name"]
	if err := change(c.r.Context(), name); err != nil {
		return err
	}
	all, err := c.client.QueuesUpTo(c.r.Context(), onceq.MaxCount)
	if err != nil {
		return err
	}
	queue := onceq.QueueInfo{Name: name, Paused: paused} // it has no jobs
	if i := slices.IndexFunc(all.Queues, func(q onceq.QueueInfo) bool { return q.Name == name }); i >= 0 {
		queue = all.Queues[i]
	}
	return c.answer(http.StatusOK, queue)
}

// workerList is the answer to GET workers.
type workerList struct {
	Workers []onceq.WorkerInfo `json:"workers"`
}

func (d *Dashboard) workers(ctx context.Context) (workerList, error) {
	all, err := d.client.Workers(ctx)
	if all == nil {
		all = []onceq.WorkerInfo{}
	}
	return workerList{all}, err
}

func (c *call) listWorkers() error {
	all, err := c.workers(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, all)
}

// rawJSON is JSON that is there already.
type rawJSON = json.RawMessage

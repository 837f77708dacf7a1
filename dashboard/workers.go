package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/onceq/onceq"
)

// The calls of workers: docs/http.md has the rules that they follow.

type runJSON struct {
	ID  string `json:"id"`
	Run int64  `json:"run"`
}

func runsOf(all []runJSON) (runs []onceq.Run) {
	for _, r := range all {
		runs = append(runs, onceq.Run(r))
	}
	return runs
}

func runsJSON(all []onceq.Run) []runJSON {
	runs := []runJSON{}
	for _, r := range all {
		runs = append(runs, runJSON(r))
	}
	return runs
}

// said reads the body of a worker's call.
func (c *call) said(into any) error {
	text, err := c.body(smallBody)
	if err != nil {
		return err
	}
	return decode(text, into)
}

func (c *call) join() error {
	var b struct {
		Name   string         `json:"name"`
		Queues map[string]int `json:"queues"`
		Kinds  []string       `json:"kinds"`
		About  struct {
			Host    string `json:"host"`
			PID     int    `json:"pid"`
			Version string `json:"version"`
			Lang    string `json:"lang"`
		} `json:"about"`
	}
	if err := c.said(&b); err != nil {
		return err
	}
	worker, err := c.config.Remote.Join(c.r.Context(), c.config.Who(c.r), onceq.Joining{Name: b.Name, Queues: b.Queues,
		Kinds: b.Kinds, About: onceq.WorkerAbout{Host: b.About.Host, PID: b.About.PID, Version: b.About.Version,
			Lang: b.About.Lang}})
	if err != nil {
		return err
	}
	lease := c.config.Remote.Lease()
	return c.answer(http.StatusCreated, struct {
		Worker  string `json:"worker"`
		LeaseMS int64  `json:"lease_ms"`
		BeatMS  int64  `json:"beat_ms"`
	}{worker, lease.Milliseconds(), (lease / 3).Milliseconds()})
}

func (c *call) fetch() error {
	var b struct {
		Worker string         `json:"worker"`
		No     int64          `json:"no"`
		Runs   []runJSON      `json:"runs"`
		Queues map[string]int `json:"queues"`
		Kinds  []string       `json:"kinds"`
		WaitMS *int64         `json:"wait_ms"`
	}
	if err := c.said(&b); err != nil {
		return err
	}
	wait := onceq.MaxRemoteWait
	if b.WaitMS != nil {
		if *b.WaitMS < 0 || *b.WaitMS > onceq.MaxRemoteWait.Milliseconds() {
			return invalid("wait_ms", fmt.Sprint(*b.WaitMS), fmt.Sprintf("must be 0 to %d",
				onceq.MaxRemoteWait.Milliseconds()))
		}
		wait = time.Duration(*b.WaitMS) * time.Millisecond
	}
	if c.polls.Add(1) > int64(c.config.MaxPolls) {
		c.polls.Add(-1)
		return problem("too-many-requests", fmt.Sprintf("%d fetches wait already: try again", c.config.MaxPolls))
	}
	defer c.polls.Add(-1)
	control := http.NewResponseController(c.w)
	until := time.Now().Add(wait + 30*time.Second)
	_, _ = control.SetReadDeadline(until), control.SetWriteDeadline(until) // the server's own are for shorter calls
	remote, owner := c.config.Remote, c.config.Who(c.r)
	got, err := remote.Fetch(c.r.Context(), onceq.RemoteFetch{Owner: owner, Worker: b.Worker, No: b.No,
		Runs: runsOf(b.Runs), Queues: b.Queues, Kinds: b.Kinds, Wait: wait})
	if err != nil {
		return err
	}
	var due *int64
	if got.NextDue >= 0 {
		ms := got.NextDue.Milliseconds()
		due = &ms
	}
	if got.Jobs == nil {
		got.Jobs = []*onceq.JobRow{}
	}
	err = c.answer(http.StatusOK, struct {
		Jobs    []*onceq.JobRow `json:"jobs"`
		Lost    []runJSON       `json:"lost"`
		Stop    []runJSON       `json:"stop"`
		NextDue *int64          `json:"next_due_ms"`
	}{got.Jobs, runsJSON(got.Lost), runsJSON(got.Stop), due})
	if len(got.Jobs) > 0 && (err != nil || control.Flush() != nil ||
		c.r.Context().Err() != nil) {
		// The client is gone. Its jobs need not wait for the end of its lease.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), 5*time.Second)
		defer cancel()
		_, _ = remote.Extend(ctx, owner, b.Worker, runsOf(b.Runs), b.No) // else the end of its lease does it
	}
	return nil
}

func (c *call) extend() error {
	var b struct {
		Worker      string    `json:"worker"`
		Runs        []runJSON `json:"runs"`
		FetchesDone int64     `json:"fetches_done"`
		Leave       bool      `json:"leave"`
	}
	if err := c.said(&b); err != nil {
		return err
	}
	remote, owner := c.config.Remote, c.config.Who(c.r)
	var x onceq.Extended
	var err error
	if b.Leave {
		err = remote.Leave(c.r.Context(), owner, b.Worker)
	} else {
		x, err = remote.Extend(c.r.Context(), owner, b.Worker, runsOf(b.Runs), b.FetchesDone)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Lost []runJSON `json:"lost"`
		Stop []runJSON `json:"stop"`
		Back int       `json:"back"`
	}{runsJSON(x.Lost), runsJSON(x.Stop), x.Back})
}

func (c *call) finish() error {
	var b struct {
		Worker  string  `json:"worker"`
		Run     int64   `json:"run"`
		Outcome string  `json:"outcome"`
		Error   string  `json:"error"`
		Stack   string  `json:"stack"`
		DelayMS int64   `json:"delay_ms"`
		Result  rawJSON `json:"result"`
	}
	if err := c.said(&b); err != nil {
		return err
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if b.DelayMS < 0 || b.DelayMS > most {
		return invalid("delay_ms", fmt.Sprint(b.DelayMS), "must be a number of milliseconds, from 0 on")
	}
	state, err := c.config.Remote.Finish(c.r.Context(), c.config.Who(c.r), b.Worker,
		onceq.Run{ID: c.params["id"], Run: b.Run}, onceq.Verdict{Outcome: b.Outcome, Error: b.Error, Stack: b.Stack,
			Delay: time.Duration(b.DelayMS) * time.Millisecond, Result: b.Result})
	if errors.Is(err, onceq.ErrNotFound) {
		return problem("gone", "the job is not kept: this run has ended before, or the job never was")
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		State onceq.State `json:"state"`
	}{state})
}

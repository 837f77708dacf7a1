package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
	"github.com/onceq/onceq/internal/wire"
)

// hideSchedule leaves out why a tick could not be made, which may say what its
// job is about.
func (c *call) hideSchedule(p onceq.PeriodicInfo) onceq.PeriodicInfo {
	if p.Error != "" && !c.mayReadArgs() {
		p.Error = "hidden"
	}
	return p
}

func (c *call) listPeriodic() error {
	all, err := c.client.Periodics(c.r.Context())
	if err != nil {
		return err
	}
	schedules := []onceq.PeriodicInfo{}
	for _, p := range all {
		schedules = append(schedules, c.hideSchedule(p))
	}
	return c.answer(http.StatusOK, struct {
		Schedules []onceq.PeriodicInfo `json:"schedules"`
	}{schedules})
}

// schedule is that of the path.
func (c *call) schedule() (onceq.PeriodicInfo, error) {
	all, err := c.client.Periodics(c.r.Context())
	if err != nil {
		return onceq.PeriodicInfo{}, err
	}
	i := slices.IndexFunc(all, func(p onceq.PeriodicInfo) bool { return p.Name == c.params["name"] })
	if i < 0 {
		return onceq.PeriodicInfo{}, problem("not-found", "there is no schedule of this name")
	}
	return c.hideSchedule(all[i]), nil
}

func (c *call) showPeriodic() error {
	p, err := c.schedule()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, p)
}

// putPeriodic makes a schedule, or changes the one of that name.
func (c *call) putPeriodic() error {
	var b struct {
		Schedule string   `json:"schedule"`
		Zone     string   `json:"zone"`
		CatchUp  *string  `json:"catch_up"`
		Jitter   string   `json:"jitter"`
		JitterMS *float64 `json:"jitter_ms"`
		Job      rawJSON  `json:"job"`
	}
	text, err := c.body(c.jobBody())
	if err != nil {
		return err
	}
	if err := decode(text, &b); err != nil {
		return err
	}
	if b.Job == nil {
		return invalid("job", "", `is missing: it is what each tick enqueues, {"kind":…,"args":…}`)
	}
	it, err := item(b.Job, "job/")
	if err != nil {
		return err
	}
	p := onceq.Periodic{Name: c.params["name"], Schedule: b.Schedule, Args: it.Args, Options: it.Options}
	if p.Location, err = zone(b.Zone); err != nil {
		return err
	}
	if b.CatchUp != nil {
		if err := p.CatchUp.UnmarshalText([]byte(*b.CatchUp)); err != nil {
			return err
		}
	}
	if p.Jitter, err = length("jitter", b.Jitter, b.JitterMS); err != nil {
		return err
	}
	info, err := c.client.PutPeriodic(c.r.Context(), p)
	if refused := (*onceq.InvalidError)(nil); errors.As(err, &refused) {
		if field := problemOf(err).more[0].value; !contains([]string{"name", "schedule", "zone", "catch_up", "jitter"},
			fmt.Sprint(field)) {
			return within("job/", err) // it is the job that is refused
		}
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.hideSchedule(info))
}

// zone reads the name of a time zone; "" = UTC.
func zone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, invalid("zone", bound(name), "must be the name of a time zone, such as Europe/Berlin")
	}
	return loc, nil
}

// length reads a length of time that is there as a text or, under the name with
// _ms, as a number of milliseconds; 0 = neither is.
func length(name, text string, ms *float64) (time.Duration, error) {
	switch {
	case ms != nil && text != "":
		return 0, invalid(name, bound(text), "and "+name+"_ms are both there: keep one")
	case ms != nil:
		if *ms < 0 || *ms != float64(int64(*ms)) || *ms > float64(int64(1<<63-1)/int64(time.Millisecond)) {
			return 0, invalid(name+"_ms", fmt.Sprint(*ms), "must be a number of milliseconds, from 0 on")
		}
		return time.Duration(*ms) * time.Millisecond, nil
	case text == "":
		return 0, nil
	}
	d, err := terms.ParseDuration(text)
	if err != nil {
		return 0, invalid(name, bound(text), err.Error())
	}
	return d, nil
}

// changePeriodic answers with the schedule after a step; of one that is gone, as
// it was.
func (c *call) changePeriodic(step func(context.Context, string) error) error {
	if err := c.nothing(); err != nil {
		return err
	}
	p, err := c.schedule()
	if err != nil {
		return err
	}
	if err := step(c.r.Context(), p.Name); err != nil {
		return err
	}
	if now, err := c.schedule(); err == nil {
		p = now
	}
	return c.answer(http.StatusOK, p)
}

func (c *call) pausePeriodic() error  { return c.changePeriodic(c.client.PausePeriodic) }
func (c *call) resumePeriodic() error { return c.changePeriodic(c.client.ResumePeriodic) }
func (c *call) deletePeriodic() error { return c.changePeriodic(c.client.RemovePeriodic) }

// runPeriodic enqueues the job of a schedule now.
func (c *call) runPeriodic() error {
	if err := c.nothing(); err != nil {
		return err
	}
	receipt, err := c.client.TickNow(c.r.Context(), c.params["name"])
	if err != nil {
		return err
	}
	c.hideReceipt(&receipt)
	return c.answer(statusOf(receipt.Outcome), receipt)
}

// nextTicks says when a schedule has its ticks, which is not in the store.
func (c *call) nextTicks() error {
	q := query{c: c}
	from, n := q.time("after"), q.number("limit", mostRows)
	if q.err != nil {
		return q.err
	}
	loc, err := zone(q.text("zone"))
	if err != nil {
		return err
	}
	if from.IsZero() {
		from = time.Now()
	}
	if n == 0 {
		n = 10
	}
	ticks, err := onceq.NextTicks(q.text("schedule"), loc, from, n)
	if err != nil {
		return err
	}
	all := make([]wire.Tick, len(ticks))
	for i, t := range ticks {
		all[i] = wire.TickAt(t)
	}
	return c.answer(http.StatusOK, struct {
		Ticks []wire.Tick `json:"ticks"`
	}{all})
}

package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// queueRow is one queue for people.
type queueRow struct {
	onceq.QueueInfo
	Counted map[string]total
	Runs    int64 // that ended in the last hour
	Spark   []bar // these by the minute
	Mean    time.Duration
	Workers int // alive, that serve it
}

func (c *call) queuesPage() error {
	l, err := c.lookAt(onceq.StatsRequest{})
	if err != nil {
		return err
	}
	var all []queueRow
	for _, q := range l.queues.Queues {
		row := queueRow{QueueInfo: q, Counted: map[string]total{}}
		for _, s := range onceq.States() {
			row.Counted[string(s)] = total{q.Counts[s], slices.Contains(q.AtLeast, s)}
		}
		var ms int64
		of := onceq.Stats{}
		for i := range l.stats.Series {
			if s := &l.stats.Series[i]; s.Queue == q.Name {
				t := s.Total()
				row.Runs, ms = row.Runs+added(t.Ended), ms+t.RunMS
				of.Series = append(of.Series, *s)
			}
		}
		row.Spark = sparkline(sum(&of, func(c *onceq.Count) int64 { return added(c.Ended) }))
		if row.Runs > 0 {
			row.Mean = time.Duration(ms/row.Runs) * time.Millisecond
		}
		for _, w := range l.workers {
			if _, ok := w.Details().Queues[q.Name]; ok && !w.Late {
				row.Workers++
			}
		}
		all = append(all, row)
	}
	v := c.newView("Queues", "queues", all)
	v.Now = l.queues.Now
	v.tell("queues", "workers", "stats")
	return c.show(http.StatusOK, "queues", v)
}

// changeQueuePage pauses or resumes a queue, after a question.
func (c *call) changeQueuePage() error {
	name, op := c.params["name"], c.params["op"]
	form, err := c.form("sure")
	if err != nil {
		return err
	}
	q := &question{Title: "Pause queue " + name + "?", Action: op, Yes: "Pause the queue", Back: "../../queues",
		Fields: []field{
			{"sure", "yes"},
		}, Text: "No worker starts its jobs until somebody resumes it. Jobs that run go " +
			"on, and enqueues are accepted."}
	change := c.client.Pause
	if op == "resume" {
		q.Title, q.Yes, change = "Resume queue "+name+"?", "Resume the queue", c.client.Resume
		q.Text = "Workers start its jobs again, those that are due at once."
	} else if op != "pause" {
		return problem("not-found", "there is no such step")
	}
	all, err := c.client.QueuesUpTo(c.r.Context(), countTo)
	if err != nil {
		return err
	}
	for _, one := range all.Queues {
		if n := one.Counts[onceq.Available]; one.Name == name {
			q.More = append(q.More, fmt.Sprintf("%s due in it, and %s run.", isOrAre(n),
				phrase.Thousands(one.Counts[onceq.Running])))
		}
	}
	if form.Get("sure") != "yes" {
		return c.ask(http.StatusOK, "queues", q)
	}
	if err := change(c.r.Context(), name); err != nil {
		return err
	}
	return c.redirect(c.root() + "queues?done=" + op)
}

func (c *call) workersPage() error {
	l, err := c.lookAt(onceq.StatsRequest{})
	if err != nil {
		return err
	}
	type workerRow struct {
		onceq.WorkerInfo
		About onceq.WorkerAbout
		Slots int
	}
	var all []workerRow
	for _, w := range l.workers {
		row := workerRow{WorkerInfo: w, About: w.Details()}
		for _, n := range row.About.Queues {
			row.Slots += n
		}
		all = append(all, row)
	}
	var alone []string // queues with due jobs that nobody serves
	for _, q := range l.queues.Queues {
		if q.Counts[onceq.Available] > 0 && !q.Paused && !l.served(q.Name) {
			alone = append(alone, q.Name)
		}
	}
	v := c.newView("Workers", "workers", struct {
		Workers []workerRow
		Alone   string
	}{all, strings.Join(alone, ", ")})
	v.Now = l.queues.Now
	v.tell("workers", "queues")
	return c.show(http.StatusOK, "workers", v)
}

func (c *call) periodicPage() error {
	all, err := c.client.Periodics(c.r.Context())
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, "periodic", c.newView("Periodic", "periodic", all))
}

// changePeriodicPage pauses or resumes a schedule, or makes its job now.
func (c *call) changePeriodicPage() error {
	name, op := c.params["name"], c.params["op"]
	form, err := c.form("sure")
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	q := &question{Action: op, Back: "../../periodic", Fields: []field{{"sure", "yes"}}}
	var change func() error
	switch op {
	case "pause":
		q.Title, q.Yes, q.Text = "Pause schedule "+name+"?", "Pause it", "It makes no jobs until somebody resumes it."
		change = func() error { return c.client.PausePeriodic(ctx, name) }
	case "resume":
		q.Title, q.Yes, q.Text = "Resume schedule "+name+"?", "Resume it", "It goes on with its next tick."
		change = func() error { return c.client.ResumePeriodic(ctx, name) }
	case "run":
		q.Title, q.Yes, q.Text = "Enqueue the job of "+name+" now?", "Enqueue it", "Its ticks stay as they are."
		change = func() error { _, err := c.client.TickNow(ctx, name); return err }
	default:
		return problem("not-found", "there is no such step")
	}
	if form.Get("sure") != "yes" {
		return c.ask(http.StatusOK, "periodic", q)
	}
	if err := change(); err != nil {
		return err
	}
	return c.redirect(c.root() + "periodic?done=" + op)
}

// systemPage says what the doctor has found, and how old this server is.
func (c *call) systemPage() error {
	says := c.doctor.says()
	if says.Report != nil && !c.mayReadArgs() {
		report := *says.Report
		report.Violations = slices.Clone(report.Violations)
		for i := range report.Violations {
			report.Violations[i].KeyText = ""
		}
		says.Report = &report
	}
	began := time.Now()
	list, err := c.client.QueuesUpTo(c.r.Context(), 1)
	if err != nil {
		return err
	}
	now := time.Now()
	info, err := c.client.StoreInfo(c.r.Context())
	if err != nil {
		return err
	}
	v := c.newView("System", "system", struct {
		Doctor       diagnosis
		Answer, Skew string
		Uptime       time.Duration
		Polls        int64
		Streams      int
		Info         onceq.StoreInfo
	}{says, brief(now.Sub(began)), brief(list.Now.Sub(now).Abs()), now.Sub(c.began), c.polls.Load(), c.Streams(), info})
	return c.show(http.StatusOK, "system", v)
}

// doctorPage begins a check of the store.
func (c *call) doctorPage() error {
	if _, err := c.form(); err != nil {
		return err
	}
	if c.beginDoctor() {
		return c.redirect("system?done=doctor")
	}
	return problem("busy", "A check is under way already: the page System says how far it is.")
}

// brief writes a length of time that may be too short to be told.
func brief(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1ms"
	}
	return phrase.Span(d)
}

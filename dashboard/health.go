package dashboard

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// health answers probes, which come without a token: no details.
func (c *call) health(which string) error {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		return problem("method-not-allowed", "only GET and HEAD are possible there")
	}
	if which == "healthz" {
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = c.w.Write([]byte("ok\n"))
		return nil
	}
	why := ""
	if c.drains.Load() {
		why = "draining"
	} else if !c.ready.look(c.r.Context(), c.client.Client) {
		why = "store"
	}
	if why != "" {
		return c.answer(http.StatusServiceUnavailable, struct {
			Ready bool   `json:"ready"`
			Why   string `json:"why"`
		}{false, why})
	}
	return c.answer(http.StatusOK, struct {
		Ready bool `json:"ready"`
	}{true})
}

// readiness is whether the store answered, for a second.
type readiness struct {
	mu   sync.Mutex // one looks at a time
	at   time.Time
	well bool
}

func (r *readiness) look(ctx context.Context, client *onceq.Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) > time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_, err := client.KeysPage(ctx, onceq.KeyFilter{Limit: 1}, "")
		r.well, r.at = err == nil, time.Now()
	}
	return r.well
}

// doctor is the one check that runs, or has run last.
type doctor struct {
	mu     sync.Mutex
	state  string // "", "running", "done" or "failed"
	done   int    // jobs and keys that were looked at
	report *onceq.DoctorReport
}

type diagnosis struct {
	State  string              `json:"state"`
	Done   int                 `json:"done"`
	Report *onceq.DoctorReport `json:"report"`
}

func (d *doctor) says() diagnosis {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := d.state
	if state == "" {
		state = "none"
	}
	return diagnosis{state, d.done, d.report}
}

func (c *call) startDoctor() error {
	if err := c.nothing(); err != nil {
		return err
	}
	if !c.beginDoctor() {
		return problem("busy", "a check is under way: GET doctor says how far it is").with("state", "running")
	}
	return c.answer(http.StatusAccepted, c.doctor.says())
}

// beginDoctor begins a check, unless one is under way.
func (c *call) beginDoctor() bool {
	d := &c.doctor
	d.mu.Lock()
	running := d.state == "running"
	if !running {
		d.state, d.done, d.report = "running", 0, nil
	}
	d.mu.Unlock()
	if running {
		return false
	}
	c.running.Go(func() {
		report, err := c.client.Doctor(c.closed, func(done int) {
			d.mu.Lock()
			d.done = done
			d.mu.Unlock()
		})
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.state = "done"; err != nil {
			d.state = "failed"
			if !errors.Is(err, context.Canceled) {
				c.log.Error("onceq: doctor failed", "request", c.id, "error", err)
			}
			return
		}
		d.report = &report
	})
	return true
}

func (c *call) showDoctor() error {
	says := c.doctor.says()
	if says.Report != nil && !c.mayReadArgs() {
		report := *says.Report
		report.Violations = append([]onceq.Violation(nil), report.Violations...)
		for i := range report.Violations {
			report.Violations[i].KeyText = ""
		}
		says.Report = &report
	}
	return c.answer(http.StatusOK, says)
}

//go:embed openapi.json
var openAPI []byte

func (c *call) openAPI() error {
	c.w.Header().Set("Content-Type", "application/json")
	_, _ = c.w.Write(openAPI)
	return nil
}

package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/nearest"
)

// route is one call of the API. The table of all is what is served, who may
// call it, and what openapi.json is compared with.
type route struct {
	method string
	path   string // below api/v1, or of a page; a segment {name} is any one segment
	action Action
	query  []string // parameters that it knows
	do     func(*call) error
	lines  bool // its body is lines of JSON, without an end
	top    bool // its path is not below api/v1
	page   bool // it is for browsers: forms go in, HTML comes out, and its path is not below api/v1

	segments []string
}

// table is every call.
func (d *Dashboard) table() []route {
	all := []route{
		{method: "POST", path: "jobs", action: Enqueue, do: (*call).enqueue},
		{method: "POST", path: "jobs/batch", action: Enqueue, do: (*call).enqueueBatch},
		{method: "POST", path: "jobs/import", action: Enqueue, do: (*call).importJobs, lines: true,
			query: []string{"answers"}},
		{method: "POST", path: "explain", action: Enqueue, do: (*call).explain},
		{method: "GET", path: "jobs", action: Read, do: (*call).listJobs, query: []string{"state", "queue", "kind",
			"key",
			"tag", "worker", "after", "before", "limit", "cursor", "include"}},
		{method: "GET", path: "jobs/{id}", action: Read, do: (*call).showJob, query: []string{"include"}},
		{method: "DELETE", path: "jobs/{id}", action: Operate, do: (*call).deleteJob},
		{method: "POST", path: "jobs/{id}/cancel", action: Operate, do: (*call).cancelJob},
		{method: "POST", path: "jobs/{id}/retry", action: Operate, do: (*call).retryJob},
		{method: "POST", path: "jobs/{id}/run", action: Operate, do: (*call).runJob},
		{method: "POST", path: "jobs/cancel", action: Operate, do: bulk(onceq.OpCancel)},
		{method: "POST", path: "jobs/retry", action: Operate, do: bulk(onceq.OpRetry)},
		{method: "POST", path: "jobs/run", action: Operate, do: bulk(onceq.OpRunNow)},
		{method: "POST", path: "jobs/delete", action: Operate, do: bulk(onceq.OpDelete)},
		{method: "GET", path: "keys", action: Read, do: (*call).listKeys,
			query: []string{"queue", "kind", "prefix", "text", "limit", "cursor"}},
		{method: "GET", path: "keys/{key}", action: Read, do: (*call).showKey},
		{method: "DELETE", path: "keys/{key}", action: Operate, do: (*call).releaseKey, query: []string{"holder"}},
		{method: "GET", path: "queues", action: Read, do: (*call).listQueues},
		{method: "GET", path: "queues/{name}", action: Read, do: (*call).showQueue},
		{method: "POST", path: "queues/{name}/pause", action: Operate, do: (*call).pauseQueue},
		{method: "POST", path: "queues/{name}/resume", action: Operate, do: (*call).resumeQueue},
		{method: "GET", path: "workers", action: Read, do: (*call).listWorkers},
		{method: "GET", path: "stats", action: Read, do: (*call).stats, query: []string{"span", "queue", "kind"}},
		{method: "GET", path: "conflicts", action: Read, do: (*call).conflicts, query: []string{"queue", "kind"}},
		{method: "GET", path: "policies", action: Read, do: (*call).policies, query: []string{"queue", "kind"}},
		{method: "POST", path: "doctor", action: Operate, do: (*call).startDoctor},
		{method: "GET", path: "doctor", action: Read, do: (*call).showDoctor},
		{method: "GET", path: "events", action: Read, do: (*call).events, query: []string{"topics"}},
		{method: "GET", path: "periodic", action: Read, do: (*call).listPeriodic},
		{method: "GET", path: "periodic/{name}", action: Read, do: (*call).showPeriodic},
		{method: "PUT", path: "periodic/{name}", action: Operate, do: (*call).putPeriodic},
		{method: "DELETE", path: "periodic/{name}", action: Operate, do: (*call).deletePeriodic},
		{method: "POST", path: "periodic/{name}/pause", action: Operate, do: (*call).pausePeriodic},
		{method: "POST", path: "periodic/{name}/resume", action: Operate, do: (*call).resumePeriodic},
		{method: "POST", path: "periodic/{name}/run", action: Operate, do: (*call).runPeriodic},
		{method: "GET", path: "ticks", action: Read, do: (*call).nextTicks,
			query: []string{"schedule", "zone", "after", "limit"}},
		{method: "GET", path: "system", action: Read, do: (*call).system},
		{method: "GET", path: "openapi.json", action: public, do: (*call).openAPI},
	}
	if d.config.Remote != nil {
		all = append(all, []route{
			{method: "POST", path: "workers", action: Work, do: (*call).join},
			{method: "POST", path: "fetch", action: Work, do: (*call).fetch},
			{method: "POST", path: "extend", action: Work, do: (*call).extend},
			{method: "POST", path: "jobs/{id}/finish", action: Work, do: (*call).finish},
		}...)
	}
	all = append(all, pageRoutes()...)
	if d.config.Metrics != nil {
		all = append(all, route{method: "GET", path: "metrics", action: Read, top: true, do: (*call).metrics})
	}
	all = append(all, route{method: "GET", path: "help", action: Read, page: true, do: (*call).guidePage},
		route{method: "GET", path: "help/{name}", action: Read, page: true, do: (*call).guidePage})
	if d.config.Login != nil {
		all = append(all, []route{
			{method: "GET", path: "login", page: true, do: (*call).showLogin},
			{method: "POST", path: "login", page: true, do: (*call).login},
			{method: "POST", path: "logout", page: true, do: (*call).logout},
		}...)
	}
	for i, r := range all {
		if !r.page && !r.top {
			r.path = "api/v1/" + r.path
		}
		all[i].segments = strings.Split(r.path, "/")
	}
	return all
}

// takes is the kind of body that a route reads.
func (r *route) takes() string {
	if r.page {
		return "application/x-www-form-urlencoded"
	}
	if r.lines {
		return "application/x-ndjson"
	}
	return "application/json"
}

// segmentsOf splits a path as it was sent, and unescapes each segment once. So
// an ID may have a slash, and no segment is a folder above.
func segmentsOf(path string) (all []string, err error) {
	for s := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if s, err = url.PathUnescape(s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// match reports whether a path is the route's, and what its parameters are.
func (r *route) match(segments []string) (params map[string]string, ok bool) {
	if len(segments) != len(r.segments) {
		return nil, false
	}
	for i, s := range r.segments {
		if name, isParam := strings.CutPrefix(s, "{"); isParam && segments[i] != "" {
			if params == nil {
				params = map[string]string{}
			}
			params[strings.TrimSuffix(name, "}")] = segments[i]
		} else if s != segments[i] {
			return nil, false
		}
	}
	return params, true
}

// find finds the route: a path without parameters before one with.
func (c *call) find(segments []string) error {
	var allowed []string
	var found *route
	for i := range c.routes {
		r := &c.routes[i]
		params, ok := r.match(segments)
		switch {
		case !ok:
		case r.method != c.r.Method:
			if !slices.Contains(allowed, r.method) {
				allowed = append(allowed, r.method)
			}
		case found == nil || len(params) < len(c.params):
			found, c.params = r, params
		}
	}
	if c.route = found; found != nil {
		return nil
	}
	if allowed != nil {
		c.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return problem("method-not-allowed", fmt.Sprintf("%s is not possible there, but %s", c.r.Method,
			strings.Join(allowed, " and ")))
	}
	return problem("not-found", "there is no such call: docs/http.md and api/v1/openapi.json have all of them")
}

// checkQuery refuses parameters that the route does not know: a mistyped filter
// must not mean "all".
func (r *route) checkQuery(req *http.Request) error {
	values, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return problem("malformed", "the query cannot be read: "+err.Error())
	}
	for name, all := range values {
		if !slices.Contains(r.query, name) {
			rule := "is not known here"
			if near := nearest.Name(name, r.query); near != "" {
				rule += fmt.Sprintf(": did you mean %q?", near)
			}
			return invalid(name, "", rule)
		}
		if len(all) > 1 && name != "state" {
			return invalid(name, all[1], "is there twice")
		}
	}
	return nil
}

var errInternal = errors.New("internal")

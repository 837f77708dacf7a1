package clients_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/redisstore"
)

// answer is what testdata/client says of a call.
type answer struct {
	OK struct {
		Outcome   string                    `json:"outcome"`
		Duplicate bool                      `json:"duplicate"`
		Job       struct{ ID, Kind string } `json:"job"`
		Conflict  *struct{ By, Holder string }
		KeyText   string          `json:"key_text"`
		State     string          `json:"state"`
		Result    json.RawMessage `json:"result"`
	}
	Error, Message, Type, Field, Key, Holder, State string
	text                                            string
}

// do makes a call. many is for those that answer with a list.
func (p *program) do(call string, many any) (a answer) {
	p.Helper()
	fmt.Fprintln(p.in, call)
	a.text = p.line()
	var err error
	if many != nil {
		var list struct{ OK json.RawMessage }
		if err = json.Unmarshal([]byte(a.text), &list); err == nil {
			err = json.Unmarshal(list.OK, many)
		}
	} else {
		err = json.Unmarshal([]byte(a.text), &a)
	}
	if err != nil {
		p.Fatalf("%s: %v: %s", call, err, a.text)
	}
	return a
}

// fails wants an error of a name, whose message has a text.
func (p *program) fails(call, name, text string) answer {
	p.Helper()
	a := p.do(call, nil)
	if a.Error != name || !strings.Contains(a.Message, text) {
		p.Errorf("%s: want %s with %q, got %s", call, name, text, a.text)
	}
	return a
}

func (s *server) jobs() (n int) {
	s.Helper()
	for _, err := range s.client.Jobs(s.Context(), onceq.JobFilter{All: true}) {
		if err != nil {
			s.Fatal(err)
		}
		n++
	}
	return n
}

func TestAClientEnqueuesOnceThoughAnswersAreCut(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		p := s.start(command("client"))
		const mail = `{"call":"enqueue","kind":"mail","args":{"to":1}`
		for i, call := range []string{mail + "}", mail + `,"options":{"unique":true}}`,
			mail + `,"options":{"id":"welcome:42"}}`, mail + `,"key":"order 42"}`} {
			s.cut("jobs", 2)
			a := p.do(call, nil)
			if s.wasCut("jobs"); a.OK.Outcome != "inserted" || a.OK.Duplicate || s.jobs() != i+1 {
				t.Errorf("%s: %s, and %d jobs", call, a.text, s.jobs())
			}
			if id := a.OK.Job.ID; i < 2 && len(id) != 26 || i == 2 && id != "welcome:42" || i == 3 && id != "order 42" {
				t.Errorf("%s: ID %q", call, id)
			}
		}
		s.cut("batch", 2)
		var many []struct {
			Outcome string
			Job     struct{ ID string }
		}
		p.do(`{"call":"enqueue_many","jobs":[{"kind":"mail"},{"kind":"mail","id":"welcome:43"},`+
			`{"kind":"mail","id":"welcome:42"}]}`, &many)
		if s.wasCut("batch"); len(many) != 3 || many[0].Outcome != "inserted" || many[1].Outcome != "inserted" ||
			many[2].Outcome != "skipped" || s.jobs() != 6 {
			t.Errorf("%+v, and %d jobs", many, s.jobs())
		}
		// A job that is not kept cannot be known again: so it is not sent again.
		for _, none := range []string{`"retention":"0s"`, `"retention_failed":"0m"`} {
			before := s.jobs()
			s.cut("jobs", 1)
			if a := p.fails(mail+`,"options":{`+none+`}}`, "UncertainError", "no answer came"); a.Key != "" ||
				s.jobs() != before+1 {
				t.Errorf("%s, and %d jobs", a.text, s.jobs()-before)
			}
		}
		// Who gets no answer at all is told so, and finds out later.
		before := s.jobs()
		s.cut("jobs", 4)
		lost := p.fails(mail+"}", "UncertainError", "no answer came")
		if s.wasCut("jobs"); s.jobs() != before+1 {
			t.Errorf("%d jobs", s.jobs()-before)
		}
		a := p.do(fmt.Sprintf(mail+`,"key":%q}`, lost.Key), nil)
		if a.OK.Outcome != "inserted" || a.OK.Job.ID != lost.Key || s.jobs() != before+1 {
			t.Errorf("%s, and %d jobs", a.text, s.jobs()-before)
		}
	})
}

func TestAClientIsToldOfDuplicatesAndOfWhatIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		p := s.start(command("client"))
		const mail = `{"call":"enqueue","kind":"mail","args":{"to":1},"options":{"unique":true`
		first := p.do(mail+"}}", nil)
		a := p.do(mail+"}}", nil)
		if a.OK.Outcome != "skipped" || !a.OK.Duplicate || a.OK.Conflict.Holder != first.OK.Job.ID {
			t.Error(a.text)
		}
		a = p.fails(mail+`,"on_conflict":"reject"}}`, "DuplicateError", `kind=mail queue=default args={"to":1} is held`)
		if a.Type != "duplicate" || a.Holder != first.OK.Job.ID {
			t.Error(a.text)
		}
		a = p.fails(mail+`,"priority":44}}`, "ProblemError", `priority "44" must be 0 (first) to 9 (last)`)
		if a.Type != "invalid" || a.Field != "priority" {
			t.Error(a.text)
		}
		p.fails(mail+`,"windoww":"5m"}}`, "ProblemError", `did you mean "window"?`)
		a = p.do(strings.Replace(mail+"}}", "enqueue", "explain", 1), nil)
		if a.OK.Outcome != "skipped" || !strings.Contains(a.OK.KeyText, "kind=mail") {
			t.Error(a.text)
		}
		a = p.do(mail+`,"window":"1h","id":"d","by":["kind"],"tags":["x"],"delay":"1m","meta":{"a":1}}}`, nil)
		job, err := s.client.Job(t.Context(), "d")
		if err != nil || a.OK.Outcome != "inserted" || job.Hold.Window.Hours() != 1 || job.Tags[0] != "x" ||
			job.State != onceq.Scheduled {
			t.Errorf("%s %+v %v", a.text, job, err)
		}
	})
}

func TestAClientWaitsForTheResult(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		p := s.start(command("client"))
		s.start(command("worker"))
		good := s.enqueue("add", []int{1, 2, 3})
		a := p.do(fmt.Sprintf(`{"call":"wait","id":%q}`, good), nil)
		if a.OK.State != "completed" || string(a.OK.Result) != `{"sum": 6}` && string(a.OK.Result) != `{"sum":6}` {
			t.Error(a.text)
		}
		bad := s.enqueue("fail", nil, onceq.MaxAttempts(1))
		if a := p.fails(fmt.Sprintf(`{"call":"wait","id":%q}`, bad), "FailedError", "as it was asked to"); a.State !=
			"discarded" {
			t.Error(a.text)
		}
		p.fails(`{"call":"wait","id":"nobody"}`, "ProblemError", "there is none of this name")
		p.fails(`{"call":"wait_for","receipt":{"job":{"id":"nobody"}}}`, "GoneError", "not kept")
		later := s.enqueue("later", nil) // a kind that nobody serves
		p.fails(fmt.Sprintf(`{"call":"wait","id":%q,"timeout":0.1}`, later), "TimeoutError", "not finished within")
		next := s.enqueue("add", []int{4})
		if _, err := s.client.Cancel(t.Context(), later); err != nil {
			t.Fatal(err)
		}
		p.fails(fmt.Sprintf(`{"call":"wait","id":%q}`, later), "FailedError", "is cancelled")
		s.is(next, onceq.Completed)
	})
}

func TestAClientSaysThatNothingHappenedWhereNobodyListens(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.url = "http://" + l.Addr().String()
		l.Close()
		p := s.start(command("client"))
		p.fails(`{"call":"enqueue","kind":"mail"}`, "UnavailableError", "cannot be reached")
	})
}

// Such a store chooses where a unique job lies, so the client cannot name it.
func TestAClientMakesUniqueJobsOnAStoreWithPartitions(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			store, err := redisstore.Open(t.Context(), server.URL(),
				&redisstore.Config{Partitions: 8, Namespace: l.name})
			if err != nil {
				t.Fatal(err)
			}
			s := serveOn(t, store)
			p := s.start(l.command(t, "client"))
			for i := range 8 {
				call := fmt.Sprintf(`{"call":"enqueue","kind":"mail","args":{"to":%d},"options":{"unique":true}}`, i)
				if a := p.do(call, nil); a.OK.Outcome != "inserted" || s.jobs() != i+1 {
					t.Errorf("%s, and %d jobs", a.text, s.jobs())
				}
				if a := p.do(call, nil); a.OK.Outcome != "skipped" {
					t.Error(a.text)
				}
			}
			p.fails(`{"call":"enqueue","kind":"mail","options":{"id":""}}`, "ProblemError", "id")
			p.fails(`{"call":"enqueue","kind":"mail","key":"mine","args":1,"options":{"unique":true,"unique_key":"k"}}`,
				"ProblemError", "partition")
		})
	}
}

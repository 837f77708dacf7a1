package dashboard

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
)

const (
	importLines = 500              // of one step
	importBytes = 4 << 20          // of one step
	importLine  = 128 << 10        // bytes of a line besides the args
	importWait  = 60 * time.Second // for the next step to come whole
)

// summary is the last line of the answer to an import. Without it the import
// was cut, and is to be sent again.
type summary struct {
	Lines      int `json:"lines"`
	Inserted   int `json:"inserted"`
	Skipped    int `json:"skipped"`
	Rejected   int `json:"rejected"`
	Replaced   int `json:"replaced"`
	Coalesced  int `json:"coalesced"`
	Superseded int `json:"superseded"`
	Refused    int `json:"refused"`
	LastLine   int `json:"last_line"` // up to here all was answered
}

func (s *summary) count(o onceq.Outcome) {
	switch o {
	case onceq.Inserted:
		s.Inserted++
	case onceq.Skipped:
		s.Skipped++
	case onceq.Rejected:
		s.Rejected++
	case onceq.Replaced:
		s.Replaced++
	case onceq.Coalesced:
		s.Coalesced++
	case onceq.Superseded:
		s.Superseded++
	}
}

// importer is an import that is under way.
type importer struct {
	*call
	control *http.ResponseController
	answers string // "refused", "all" or "none"
	sum     summary
	items   []onceq.Item
	numbers []int // of their lines
	bytes   int
}

// importJobs enqueues lines, of any number: it answers while they come, and
// keeps only one step of them.
func (c *call) importJobs() error {
	i := importer{call: c, control: http.NewResponseController(c.w), answers: c.r.URL.Query().Get("answers")}
	if i.answers == "" {
		i.answers = "refused"
	}
	if !contains([]string{"refused", "all", "none"}, i.answers) {
		return invalid("answers", bound(i.answers), "must be refused, all or none")
	}
	_ = i.control.EnableFullDuplex() // HTTP/2 needs it not
	i.wait()
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.WriteHeader(http.StatusOK)
	ended, err := i.run()
	if err != nil {
		c.log.Error("onceq: request failed", "request", c.id, "status", http.StatusOK, "error", err)
	}
	i.line(struct {
		Summary summary `json:"summary"`
		Ended   string  `json:"ended"`
	}{i.sum, ended})
	if ended != "eof" { // who still sends when a connection is closed may not see the answer
		_ = i.control.Flush()
		_ = i.control.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.CopyN(io.Discard, i.r.Body, importBytes)
	}
	return nil
}

// run returns why it ended: "eof", "drain", "store" or "client".
func (i *importer) run() (ended string, err error) {
	lines := bufio.NewScanner(i.r.Body)
	lines.Buffer(nil, i.config.MaxArgs/3*4+importLine)
	for lines.Scan() {
		i.sum.Lines++
		text := lines.Bytes()
		if len(text) == 0 {
			continue
		}
		it, err := item(text, "")
		if err == nil {
			_, err = i.client.Prepare(it.Args, it.Options...)
		}
		if err != nil {
			i.refuse(i.sum.Lines, i.client.sent(text).problem(problemOf(err)))
			continue
		}
		i.items, i.numbers, i.bytes = append(i.items, it), append(i.numbers, i.sum.Lines), i.bytes+len(text)
		if len(i.items) < importLines && i.bytes < importBytes {
			continue
		}
		if err := i.step(); err != nil {
			return "store", err
		}
		if i.drains.Load() {
			return "drain", nil
		}
	}
	if err := i.step(); err != nil {
		return "store", err
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		i.refuse(i.sum.Lines+1, problem("too-large", "the line is too long: the import ends here"))
		return "client", nil
	case err != nil: // the body was cut: a summary would say that all had come
		panic(http.ErrAbortHandler)
	}
	return "eof", nil
}

// step enqueues the lines that have come.
func (i *importer) step() error {
	if len(i.items) > 0 {
		receipts, err := i.client.EnqueueMany(i.r.Context(), i.items)
		if err != nil {
			return err
		}
		for n := range receipts {
			r := &receipts[n]
			i.sum.count(r.Outcome)
			if i.answers == "all" {
				i.hideReceipt(r)
				i.line(struct {
					Line int            `json:"line"`
					Did  *onceq.Receipt `json:"receipt"`
				}{i.numbers[n], r})
			}
		}
	}
	i.sum.LastLine = i.sum.Lines
	i.items, i.numbers, i.bytes = nil, nil, 0
	_ = i.control.Flush() // who is gone is found out when reading
	i.wait()
	return nil
}

func (i *importer) refuse(number int, err error) {
	i.sum.Refused++
	if i.answers != "none" {
		i.line(struct {
			Line    int             `json:"line"`
			Refused json.RawMessage `json:"refused"`
		}{number, i.text(problemOf(err))})
	}
}

func (i *importer) line(v any) { _ = wire.WriteLine(i.w, v) } // who is gone is found out when reading

// wait gives the client time for the next step.
func (i *importer) wait() {
	until := time.Now().Add(importWait)
	_, _ = i.control.SetReadDeadline(until), i.control.SetWriteDeadline(until)
}

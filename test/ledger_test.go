package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// line is one fact in the ledger. A process writes it with one system call,
// so that a kill leaves it whole or not there at all.
type line struct {
	What    string        `json:"what"` // "ack", "start", "end"
	Key     int           `json:"key"`
	Job     string        `json:"job"`
	Policy  string        `json:"policy,omitempty"`
	Outcome onceq.Outcome `json:"outcome,omitempty"`
	Called  int64         `json:"called,omitempty"` // of an ack: when the enqueue was called
	At      int64         `json:"at"`               // by this host's clock, in nanoseconds
	Run     int64         `json:"run,omitempty"`
	Stamp   int64         `json:"stamp,omitempty"` // of a start: Called of the enqueue whose args it runs with
	PID     int           `json:"pid"`
}

// ledger is what one process writes down.
type ledger struct{ file *os.File }

func openLedger(folder, name string) (*ledger, error) {
	f, err := os.CreateTemp(folder, name+"-*.jsonl")
	return &ledger{f}, err
}

func (l *ledger) note(n line) {
	n.PID = os.Getpid()
	if n.At == 0 {
		n.At = time.Now().UnixNano()
	}
	raw, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	if _, err := l.file.Write(append(raw, '\n')); err != nil {
		panic(err)
	}
}

// countLedger counts what all processes wrote down, without reading it:
// they go on writing meanwhile.
func countLedger(t *testing.T, folder string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(raw, []byte("\n"))
	}
	return n
}

// readLedger reads what all processes wrote down.
func readLedger(t *testing.T, folder string) (lines []line) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var n line
			if err := json.Unmarshal(s.Bytes(), &n); err != nil {
				t.Fatalf("%s: %v in %q", name, err, s.Text())
			}
			lines = append(lines, n)
		}
		f.Close()
	}
	return lines
}

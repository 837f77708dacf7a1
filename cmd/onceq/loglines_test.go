package main

import (
	"bytes"
	"log/slog"
	"testing"
)

// A store logs by slog's default, a worker by its own logger: a terminal
// shows lines of one form.
func TestEveryLineOfALogHasOneForm(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(&logLines{out: &out})
	log.Warn("onceq: LISTEN hears nothing", "store", "pg", "error", "two words")
	log.With("worker", "w1", "queue", "a").Warn("fetch failed", "n", 3)
	log.Info("not shown")
	const want = "onceq: LISTEN hears nothing store=pg error=\"two words\"\nonceq: fetch failed queue=a n=3\n"
	if out.String() != want {
		t.Errorf("\n got %q\nwant %q", out.String(), want)
	}
	was := slog.Default()
	defer slog.SetDefault(was)
	prepareLogs(&out)
	out.Reset()
	slog.Default().Warn("onceq: x")
	if out.String() != "onceq: x\n" {
		t.Errorf("the default has another form: %q", out.String())
	}
}

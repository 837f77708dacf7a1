package onceq_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

func TestAWorkerSaysWhatItServesWhenItStartsAndEnds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var log bytes.Buffer
		stop := b.serve(onceq.WorkerConfig{ServePeriodic: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Queues: map[string]onceq.QueueConfig{"mail": {Concurrency: 2}, "default": {Concurrency: 10}}}, fine)
		clean(t, stop)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `level=INFO msg="onceq: worker started" worker=`) ||
			!strings.Contains(lines[0], ` queues="default=10,mail=2" kinds=mail lease=30s`) ||
			!strings.Contains(lines[1], `level=INFO msg="onceq: worker ended" worker=`) {
			t.Errorf("the log is\n%s", &log)
		}
	})
}

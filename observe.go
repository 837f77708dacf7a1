package onceq

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// contain, deferred around code that is not ours, keeps a panic of that
// code from ending the process. It writes once to standard error, because
// the log may be what panics.
func contain(what string) {
	if p := recover(); p != nil {
		if _, said := contained.LoadOrStore(what, true); !said {
			fmt.Fprintf(os.Stderr, "onceq: the %s panicked (this is said once): %v\n", what, p)
		}
	}
}

var contained sync.Map // what has panicked before

// safeLogger makes a logger whose handler may panic: the line is lost, and
// the process goes on.
func safeLogger(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(safeHandler); ok {
		return l
	}
	return slog.New(safeHandler{l.Handler()})
}

type safeHandler struct{ inner slog.Handler }

func (h safeHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer contain("Logger")
	return h.inner.Enabled(ctx, level)
}

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	defer contain("Logger")
	return h.inner.Handle(ctx, r)
}

func (h safeHandler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	with = h
	defer contain("Logger")
	return safeHandler{h.inner.WithAttrs(attrs)}
}

func (h safeHandler) WithGroup(name string) (with slog.Handler) {
	with = h
	defer contain("Logger")
	return safeHandler{h.inner.WithGroup(name)}
}

// duplicates logs every enqueue that met a key or an ID.
type duplicates struct {
	logger *slog.Logger
	level  slog.Level
}

func newDuplicates(c *Config) duplicates {
	level := c.DuplicateLevel
	if level == 0 {
		level = slog.LevelDebug
	}
	return duplicates{c.Logger, level}
}

// note logs one. If something panics in it, the caller still gets the
// receipt.
func (d duplicates) note(ctx context.Context, row *NewRow, r Receipt) {
	if !d.logger.Enabled(ctx, d.level) {
		return
	}
	c := r.Conflict
	attrs := []slog.Attr{
		slog.String("kind", row.Kind), slog.String("queue", row.Queue), slog.String("outcome", string(r.Outcome)),
		slog.String("job", r.Job.ID), slog.String("by", c.By), slog.String("key_text", c.Text),
		slog.String("holder", c.Holder), slog.String("state", string(c.State)),
	}
	for _, at := range []struct {
		name string
		time time.Time
	}{{"since", c.Since}, {"frees_at", c.FreesAt}} {
		if !at.time.IsZero() {
			attrs = append(attrs, slog.Time(at.name, at.time))
		}
	}
	if c.FreesWhen != "" {
		attrs = append(attrs, slog.String("frees_when", c.FreesWhen))
	}
	attrs = append(attrs, slog.Bool("args_differ", c.ArgsDiffer))
	d.logger.LogAttrs(ctx, d.level, "onceq: duplicate", attrs...)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
	"github.com/onceq/onceq/internal/wire"
)

const (
	batchLines  = 500
	batchBytes  = 4 << 20
	lineMargin  = 128 << 10 // bytes of a line besides its args
	shownRefuse = 10        // refused lines that are shown one by one
)

// jobLine is how messages speak of a line that is a whole job.
var jobLine = terms.Source{Name: "the line", Hint: "say --kind when lines are bare args"}

// feed enqueues the lines of a file.
type feed struct {
	a        *app
	e        *enqueue
	client   *onceq.Client
	judge    *onceq.Client // finds what is wrong with a line, without sending it
	tally    *tally
	progress *progress
	last     int // number of the last line
}

// entry is a line that is being enqueued.
type entry struct {
	no      int
	item    onceq.Item
	refused error
	receipt onceq.Receipt
}

func (a *app) enqueueFile(ctx context.Context, e *enqueue) (err error) {
	ctx = inTrace(ctx)
	if e.HasID() {
		return usagef("--id is one job's: in a file each line has its own \"id\"")
	}
	if e.bytes && e.kind == "" {
		return usagef("--bytes with --file needs --kind: each line is then the args, as they are")
	}
	if e.skipLines < 0 {
		return usagef("--skip-lines %d must be 0 or more", e.skipLines)
	}
	opts, err := e.Options(terms.AsFlag)
	if err != nil {
		return usage(err)
	}
	in, size := a.in, int64(0)
	if e.file != "-" {
		f, err := os.Open(e.file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	// The flags are defaults: what a line says overrides them.
	config := &onceq.Config{Defaults: opts, MaxArgs: e.maxArgs}
	judge, err := onceq.NewClient(nowhere{}, config)
	if err == nil { // what is wrong for every line is a usage error
		_, err = judge.Enqueue(ctx, onceq.JSON("any", []byte("{}")), onceq.NotUnique)
	}
	if err != nil {
		return usage(err)
	}
	defer judge.Close()
	meter := &meter{r: in}
	in = meter
	if !e.bytes {
		in = &unpacked{from: meter}
	}
	s, err := a.open(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	ctx, stop := signal.NotifyContext(ctx, stopSignals()...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the command at once
	f := &feed{a: a, e: e, client: s.client, judge: judge, tally: newTally(), last: e.skipLines}
	f.progress = newProgress(a, func() string {
		text := fmt.Sprintf("%s lines: %s", thousands(f.tally.lines), f.tally)
		if size > 0 {
			text = fmt.Sprintf("%3d%%  ", min(100, meter.n.Load()*100/size)) + text
		}
		return text
	})
	broken := f.run(ctx, readLines(ctx, in, e.skipLines, batchLines, batchBytes, e.maxArgs+lineMargin))
	f.progress.end()
	return f.summary(broken)
}

func (f *feed) run(ctx context.Context, in *lines) error {
	for {
		batch, err := in.take()
		if err != nil || len(batch) == 0 {
			return err
		}
		entries := make([]entry, len(batch))
		for i, l := range batch {
			entries[i].no = l.no
			entries[i].item, entries[i].refused = f.e.item(l)
		}
		// A batch that is under way is brought to its end, so that the
		// summary is true.
		err = f.send(context.WithoutCancel(ctx), entries)
		for i := range entries {
			if said := f.account(&entries[i]); said != nil {
				return said
			}
		}
		f.progress.show()
		if err != nil {
			return err
		}
	}
}

// send enqueues the entries that are not refused yet, in order: together if
// the store accepts that, else one by one. Its error ends the feed; entries
// that it did not reach have neither a receipt nor a refusal.
func (f *feed) send(ctx context.Context, entries []entry) error {
	var going []*entry
	for i := range entries {
		if entries[i].refused == nil {
			going = append(going, &entries[i])
		}
	}
	receipts, err := f.many(ctx, f.client, going)
	var invalid *onceq.InvalidError
	if errors.As(err, &invalid) {
		going = slices.DeleteFunc(going, func(en *entry) bool {
			_, en.refused = enqueueOne(ctx, f.judge, en.item)
			return en.refused != nil
		})
		receipts, err = f.many(ctx, f.client, going)
	}
	for i, r := range receipts {
		going[i].receipt = r
	}
	if err == nil || errors.Is(err, onceq.ErrUncertain) || len(going) == 0 {
		return err
	}
	for i, en := range going {
		one, oneErr := enqueueOne(ctx, f.client, en.item)
		switch {
		case oneErr == nil:
			en.receipt = one
		case errors.Is(oneErr, onceq.ErrUncertain):
			return oneErr
		default:
			en.refused = oneErr
		}
		if all := going[:i+1]; (i == len(going)-1 || i == 2) &&
			!slices.ContainsFunc(all, func(en *entry) bool { return en.refused == nil }) {
			for _, en := range all { // the store failed, not the lines
				en.refused = nil
			}
			return oneErr
		}
	}
	return nil
}

// enqueueOne enqueues an item by itself. A rejected one is answered by its
// receipt, as in a batch.
func enqueueOne(ctx context.Context, c *onceq.Client, item onceq.Item) (onceq.Receipt, error) {
	r, err := c.Enqueue(ctx, item.Args, item.Options...)
	if errors.Is(err, onceq.ErrDuplicate) && r.Job != nil {
		err = nil
	}
	return r, err
}

func (f *feed) many(ctx context.Context, c *onceq.Client, entries []*entry) ([]onceq.Receipt, error) {
	items := make([]onceq.Item, len(entries))
	for i, en := range entries {
		items[i] = en.item
	}
	return c.EnqueueMany(ctx, items)
}

// account counts the outcome of a line, and prints it if that was asked
// for.
func (f *feed) account(en *entry) error {
	switch {
	case en.refused != nil:
		f.tally.lines, f.tally.refused, f.last = f.tally.lines+1, f.tally.refused+1, en.no
		if f.a.json {
			return f.a.printJSON(wire.Line{No: en.no, Refused: en.refused})
		}
		reason := en.refused
		var invalid *onceq.InvalidError
		if errors.As(reason, &invalid) {
			reason = invalid.In(func(name string) string {
				if name == "Config.MaxArgs" {
					return "--max-args"
				}
				return wire.Member(name)
			})
		}
		if f.tally.refused <= shownRefuse {
			f.progress.clear()
			fmt.Fprintf(f.a.errOut, "onceq: line %d refused: %s\n", en.no, oneLine(reason.Error()))
		}
	case en.receipt.Job != nil:
		f.tally.lines, f.last = f.tally.lines+1, en.no
		f.tally.outcomes[en.receipt.Outcome]++
		if f.a.json {
			return f.a.printJSON(wire.Line{No: en.no, Receipt: en.receipt})
		}
	}
	return nil
}

// summary says what became of all lines, and sets the exit code.
func (f *feed) summary(broken error) error {
	out := f.a.out
	if f.a.json {
		out = f.a.errOut
	} else if more := f.tally.refused - shownRefuse; more > 0 {
		fmt.Fprintf(f.a.errOut, "onceq: %s refused\n", count(more, "more line"))
	}
	fmt.Fprintf(out, "%s: %s\n", count(f.tally.lines, "job line"), f.tally)
	switch {
	case errors.Is(broken, onceq.ErrUncertain):
		return fmt.Errorf("stopped after line %d: %w (feed it again with --skip-lines %d; unique jobs and those with "+
			"an id are not doubled)", f.last, broken, f.last)
	case errors.Is(broken, context.Canceled):
		return fmt.Errorf("interrupted after line %d: --skip-lines %d feeds the rest; or feed all of it again, if the "+
			"jobs are unique", f.last, f.last)
	case broken != nil:
		return fmt.Errorf("stopped after line %d: %w", f.last, broken)
	case f.tally.refused > 0:
		return exit{exitFailed}
	case f.tally.outcomes[onceq.Rejected] > 0:
		return exit{exitDuplicate}
	}
	return nil
}

// item is the job of a line.
func (e *enqueue) item(l line) (onceq.Item, error) {
	if l.long {
		return onceq.Item{}, &onceq.InvalidError{Field: "the line",
			Rule: fmt.Sprintf("is longer than %d bytes: keep large data elsewhere and pass a reference, or raise "+
				"--max-args", len(l.text))}
	}
	switch {
	case e.bytes:
		return onceq.NewItem(onceq.Bytes(e.kind, l.text)), nil
	case e.kind != "":
		return onceq.NewItem(onceq.JSON(e.kind, bytes.TrimSpace(l.text))), nil
	}
	return jobLine.ParseItem(l.text)
}

// nowhere is a store that accepts everything and keeps nothing: a client of
// it finds out whether a job could be sent.
type nowhere struct{ onceq.Store }

func (nowhere) Traits() onceq.Traits { return onceq.Traits{} }

// Sweep and Note say that there is nothing to tidy and nowhere to note counts:
// a guard and a client that are in use for a while ask for them.
func (nowhere) Sweep(context.Context, onceq.SweepRequest) (onceq.Swept, error) {
	return onceq.Swept{}, onceq.ErrClosed
}

func (nowhere) Note(context.Context, onceq.Notes) error { return onceq.ErrClosed }

func (nowhere) Enqueue(_ context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	results := make([]onceq.EnqueueResult, len(rows))
	for i := range rows {
		results[i] = onceq.EnqueueResult{Outcome: onceq.Inserted, Job: &onceq.JobRow{ID: rows[i].ID}}
	}
	return results, nil
}

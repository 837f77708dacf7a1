package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// payload is a message of Watermill: bytes.
func payload(s string) onceq.Args { return onceq.Bytes("orders", []byte(s)) }

// parityWatermill: Watermill's Deduplicator, as a middleware of handlers and as
// a decorator of publishers.
var parityWatermill = []scenario{
	{"middleware_a_copy_is_dropped_in_every_process", byGuard(guard.Config{}, func(g *guarded) {
		ran := 0
		handle := func(context.Context) error { ran++; return nil }
		other := g.world.guard(guard.Config{})
		g.must(g.Once(g.ctx, "uuid-1", payload("a"), handle))
		g.wantErr(g.Once(g.ctx, "uuid-1", payload("a"), handle), guard.ErrDone)
		g.wantErr(other.Once(g.ctx, "uuid-1", payload("a"), handle), guard.ErrDone)
		g.must(other.Once(g.ctx, "uuid-2", payload("b"), handle))
		equal(g.world, "runs", ran, 2)
	})},
	{"difference_a_message_that_failed_is_not_dropped_when_it_comes_again", byGuard(guard.Config{}, func(g *guarded) {
		for _, err := range []error{errNo, errNo, nil, guard.ErrDone} {
			got := g.Once(g.ctx, "uuid-1", payload("a"), func(context.Context) error { return err })
			if !errors.Is(got, err) {
				g.Fatalf("got %v, want %v", got, err)
			}
		}
	})},
	{"window_is_how_long_what_was_handled_is_kept", byGuard(guard.Config{}, func(g *guarded) {
		once := func() error {
			return g.Once(g.ctx, "uuid-1", payload("a"), func(context.Context) error { return nil },
				onceq.Retention(time.Minute))
		}
		g.must(once())
		g.wantErr(once(), guard.ErrDone)
		g.after(2 * minute)
		g.world.sweep()
		g.must(once())
	})},
	{"publisher_decorator_drops_the_same_payload_for_a_window", byGuard(guard.Config{}, func(g *guarded) {
		window := onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}
		t := g.sends(payload("a"), window)
		g.sends(payload("b"), window)
		g.handles(t, nil, nil)
		equal(g.world, "holder", g.dup(payload("a"), window).Holder, string(t))
		g.after(minute)
		g.sends(payload("a"), window)
	})},
	{"difference_without_a_window_a_payload_is_free_when_it_was_handled", byGuard(guard.Config{}, func(g *guarded) {
		t := g.sends(payload("a"))
		g.after(time.Hour) // it waits for longer than any window
		g.heldBy(t, onceq.Scheduled, payload("a"))
		g.handles(t, nil, nil)
		g.sends(payload("a"))
	})},
	{"difference_a_failed_publish_is_not_remembered", byGuard(guard.Config{}, func(g *guarded) {
		_, err := g.Send(g.ctx, payload("a"), func(context.Context, guard.Token) error { return errNo })
		g.wantErr(err, errNo)
		g.sends(payload("a"))
	})},
}

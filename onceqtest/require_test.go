package onceqtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
)

// failing is a test that only notes that it failed, and what it said.
type failing struct {
	testing.TB
	said   string
	logged string
}

func (f *failing) Helper()                       {}
func (f *failing) Fatalf(text string, of ...any) { f.said = fmt.Sprintf(text, of...); panic(f) }
func (f *failing) Logf(text string, of ...any)   { f.logged = fmt.Sprintf(text, of...) }

// fails returns what a check says that must fail.
func fails(t *testing.T, check func(testing.TB)) (said string) {
	t.Helper()
	f := &failing{TB: t}
	defer func() {
		if r := recover(); r != nil && r != f {
			panic(r)
		}
		if said = f.said; said == "" {
			t.Error("the check did not fail")
		}
	}()
	check(f)
	return
}

// wantLines checks that the parts are in a message, in this order.
func wantLines(t *testing.T, said string, parts ...string) {
	t.Helper()
	rest := said
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("%q is not in, or not in this place of:\n%s", part, said)
			return
		}
		rest = after
	}
}

// digest is a type that says how it is enqueued.
type digest struct {
	Day string `json:"day"`
}

func (digest) Kind() string { return "digest" }

func (digest) EnqueueOptions() []onceq.Option {
	return []onceq.Option{onceq.Queue("digests"), onceq.Unique{}, onceq.OnConflict(onceq.Coalesce)}
}

func TestRequireEnqueuedComparesWhatTheOptionsSay(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	at := time.Now().Add(time.Hour)
	for _, c := range []struct{ is, not onceq.Option }{
		{onceq.Queue("mail"), onceq.Queue("default")},
		{onceq.Priority(1), onceq.Priority(5)},
		{onceq.Tags("a", "b"), onceq.Tags("b", "a")},
		{onceq.Meta(map[string]any{"a": 1, "b": 2.5}), onceq.Meta(map[string]any{"a": 1})},
		{onceq.MaxAttempts(3), onceq.MaxAttempts(25)},
		{onceq.Timeout(time.Second), onceq.Timeout(0)},
		{onceq.Retention(time.Hour), onceq.Retention(24 * time.Hour)},
		{onceq.RetentionFailed(time.Hour), onceq.RetentionFailed(0)},
		{onceq.Backoff{Initial: time.Second, Max: time.Hour}, onceq.Backoff{Initial: time.Second, Max: time.Minute}},
		{onceq.ID("mine"), onceq.ID("yours")},
		{onceq.Delay(time.Minute), onceq.Delay(0)},
		{onceq.RunAt(at), onceq.RunAt(at.Add(time.Second))},
		{onceq.UniqueKey("k"), onceq.UniqueKey("l")},
		{onceq.Unique{}, onceq.NotUnique},
		{onceq.Unique{Fields: []string{"user"}}, onceq.Unique{}},
		{onceq.Unique{TTL: time.Hour}, onceq.Unique{TTL: time.Minute}},
		{onceq.Unique{Until: onceq.UntilFailed}, onceq.Unique{Until: onceq.UntilSucceeded}},
	} {
		receipt, err := client.Enqueue(t.Context(), welcome{User: 1}, c.is)
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range [][]onceq.Option{nil, {c.is}} {
			if job := onceqtest.RequireEnqueued(t, client, welcome{User: 1}, opts...); job.ID != receipt.Job.ID {
				t.Errorf("%v: found %s, not %s", c.is, job.ID, receipt.Job.ID)
			}
		}
		fails(t, func(t testing.TB) { onceqtest.RequireEnqueued(t, client, welcome{User: 1}, c.not) })
		onceqtest.RequireNotEnqueued(t, client, welcome{User: 1}, c.not)
		fails(t, func(t testing.TB) { onceqtest.RequireNotEnqueued(t, client, welcome{User: 1}, c.is) })
		if err := client.Delete(t.Context(), receipt.Job.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatTheTypeSaysIsNotAsked(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	if _, err := client.Enqueue(t.Context(), digest{"mon"}, onceq.Queue("special"), onceq.ResetUnique); err != nil {
		t.Fatal(err)
	}
	onceqtest.RequireEnqueued(t, client, digest{"mon"})
	onceqtest.RequireEnqueued(t, client, digest{"mon"}, onceq.Queue("special"), onceq.NotUnique)
	fails(t, func(t testing.TB) { onceqtest.RequireEnqueued(t, client, digest{"mon"}, onceq.Unique{}) })
	fails(t, func(t testing.TB) { onceqtest.RequireEnqueued(t, client, digest{"mon"}, onceq.Queue("digests")) })
}

func TestRequireEnqueuedCountCounts(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	for _, queue := range []string{"a", "a", "b"} {
		if _, err := client.Enqueue(t.Context(), welcome{User: 1}, onceq.Queue(queue)); err != nil {
			t.Fatal(err)
		}
	}
	if all := onceqtest.RequireEnqueuedCount(t, client, welcome{User: 1}, 3); all[0].ID > all[2].ID {
		t.Error("not the oldest first")
	}
	onceqtest.RequireEnqueuedCount(t, client, welcome{User: 1}, 2, onceq.Queue("a"))
	onceqtest.RequireEnqueuedCount(t, client, welcome{User: 2}, 0)
	said := fails(t, func(t testing.TB) {
		onceqtest.RequireEnqueuedCount(t, client, welcome{User: 1}, 2, onceq.Queue("b"))
	})
	wantLines(t, said, "onceqtest: 1 such jobs wait or run, not 2:", `queue b`, `as wanted`, `queue is a`, `queue is a`)
}

func TestWhatIsSaidWhereNoJobIsAsWanted(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	check := func(t testing.TB) {
		onceqtest.RequireEnqueued(t, client, welcome{User: 1}, onceq.Queue("mail"), onceq.Delay(time.Hour),
			onceq.Unique{})
	}
	const wanted = `onceqtest: no such job waits or runs:
  kind "welcome"
  args {"user":1}
  queue mail
  delay 1h0m0s
  key `
	said := fails(t, check)
	wantLines(t, said, wanted, "\nthe store has no jobs at all")

	enqueue := func(args onceq.Args, opts ...onceq.Option) {
		t.Helper()
		if _, err := client.Enqueue(t.Context(), args, opts...); err != nil {
			t.Fatal(err)
		}
	}
	enqueue(digest{"mon"})
	said = fails(t, check)
	wantLines(t, said, wanted, "\nthere is no job of kind \"welcome\"; there are:\n  1 of kind \"digest\"")

	enqueue(welcome{User: 1}, onceq.ID("a"))
	enqueue(welcome{User: 2}, onceq.ID("b"), onceq.Queue("mail"), onceq.Delay(time.Hour), onceq.Unique{})
	enqueue(welcome{User: 1}, onceq.ID("c"), onceq.Queue("mail"), onceq.Delay(time.Hour), onceq.Unique{})
	if _, err := client.Cancel(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	said = fails(t, check)
	wantLines(t, said, wanted, "\njobs of kind \"welcome\":",
		"\n  c cancelled args {\"user\":1}: it has ended",
		"\n  b scheduled args {\"user\":2}: other args, key is ",
		"\n  a available args {\"user\":1}: queue is default, delay is 0s, key is none")

	for range 25 {
		enqueue(welcome{User: 3})
	}
	wantLines(t, fails(t, check), "\n  and 8 more")
	said = fails(t, func(t testing.TB) { onceqtest.RequireEnqueued(t, client, welcome{}, onceq.Priority(10)) })
	wantLines(t, said, "onceqtest: an enqueue with these args and options would fail: priority \"10\" must be")
	said = fails(t, func(t testing.TB) { onceqtest.RequireNotEnqueued(t, client, welcome{User: 2}) })
	wantLines(t, said, "onceqtest: such a job waits or runs, and none should:", "\n  b scheduled", "as wanted")
}

func TestRequireDuplicate(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	if _, err := client.Enqueue(t.Context(), digest{"mon"}, onceq.ID("d")); err != nil {
		t.Fatal(err)
	}
	met := onceqtest.RequireDuplicate(t, client, digest{"mon"}, onceq.OnConflict(onceq.Reject))
	if met.Holder != "d" || met.By != "key" {
		t.Errorf("met %+v", met)
	}
	if met = onceqtest.RequireDuplicate(t, client, digest{"tue"}, onceq.ID("d")); met.By != "id" {
		t.Errorf("met %+v", met)
	}
	onceqtest.RequireEnqueuedCount(t, client, digest{"mon"}, 1) // nothing was enqueued

	for _, c := range []struct {
		args onceq.Args
		opts []onceq.Option
		said []string
	}{
		{digest{"tue"}, nil, []string{
			"onceqtest: this enqueue would be inserted, not a duplicate: nobody holds its key ",
			"\n  kind \"digest\"\n  args {\"day\":\"tue\"}",
			"\njobs of kind \"digest\":\n  d available", "other args"}},
		{digest{"mon"}, []onceq.Option{onceq.ResetUnique},
			[]string{"it has no key and no ID of yours, so it meets nothing"}},
		{digest{"mon"}, []onceq.Option{onceq.ResetUnique, onceq.ID("e")},
			[]string{"there is no job with its ID", "\n  ID e"}},
		{digest{"mon"}, []onceq.Option{onceq.OnConflict(onceq.Supersede)},
			[]string{"this enqueue would be superseded, not a duplicate: ", "is held by job d"}},
	} {
		said := fails(t, func(t testing.TB) { onceqtest.RequireDuplicate(t, client, c.args, c.opts...) })
		wantLines(t, said, c.said...)
	}
}

// serial is a codec whose code is another one each time, as that of a cipher.
type serial struct{ n atomic.Int64 }

func (*serial) Name() string { return "serial" }

func (s *serial) Encode(_ context.Context, kind string, args []byte) ([]byte, error) {
	return fmt.Appendf(nil, "%s%08d%s", kind, s.n.Add(1), args), nil
}

func (*serial) Decode(_ context.Context, kind string, code []byte) ([]byte, error) {
	return code[len(kind)+8:], nil
}

func TestEncodedArgsAreComparedAsTheyWere(t *testing.T) {
	client, err := onceq.NewClient(onceqtest.NewStore(t), &onceq.Config{Codec: &serial{}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Enqueue(t.Context(), welcome{User: 1}, onceq.UniqueKey("k"), onceq.SecretKey); err != nil {
		t.Fatal(err)
	}
	onceqtest.RequireEnqueued(t, client, welcome{User: 1})
	onceqtest.RequireEnqueued(t, client, welcome{User: 1}, onceq.UniqueKey("k"), onceq.SecretKey)
	onceqtest.RequireNotEnqueued(t, client, welcome{User: 1}, onceq.UniqueKey("k"))
	onceqtest.RequireNotEnqueued(t, client, welcome{User: 2})
	said := fails(t, func(t testing.TB) { onceqtest.RequireEnqueued(t, client, welcome{User: 2}) })
	for _, args := range []string{`args {"user":1}`, `args {"user":2}`} {
		if !strings.Contains(said, args) {
			t.Errorf("%s\nhas no %s", said, args)
		}
	}
}

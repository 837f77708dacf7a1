package onceq_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// hexes is a codec that counts, so that no two codes are the same.
type hexes struct{ n *atomic.Int64 }

func newHexes() hexes { return hexes{new(atomic.Int64)} }

func (hexes) Name() string { return "hex/1" }

func (h hexes) Encode(_ context.Context, _ string, args []byte) ([]byte, error) {
	return []byte(fmt.Sprintf("%08d%x", h.n.Add(1), args)), nil
}

func (hexes) Decode(_ context.Context, _ string, code []byte) ([]byte, error) {
	return hex.DecodeString(string(code[8:]))
}

// broken is a codec whose methods do what they are told.
type broken struct {
	name string
	do   func() ([]byte, error)
}

func (b broken) Name() string                                               { return b.name }
func (b broken) Encode(context.Context, string, []byte) ([]byte, error)     { return b.do() }
func (b broken) Decode(context.Context, string, []byte) (_ []byte, e error) { return b.do() }

func TestACodecThatFailsRefusesTheEnqueue(t *testing.T) {
	no := errors.New("no key service")
	for what, do := range map[string]func() ([]byte, error){
		"fails":  func() ([]byte, error) { return nil, no },
		"panics": func() ([]byte, error) { panic("no") },
		"grows":  func() ([]byte, error) { return make([]byte, 1<<20), nil },
	} {
		store := memstore.New(nil)
		c := clientOf(t, store, &onceq.Config{Codec: broken{"b", do}})
		_, err := c.Enqueue(t.Context(), mail{"a"})
		_, many := c.EnqueueMany(t.Context(), twoMails)
		if err == nil || many == nil || errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%s: %v, %v", what, err, many)
		}
		if what == "fails" && !(errors.Is(err, no) && strings.Contains(err.Error(), `"b"`)) {
			t.Errorf("%s: %v", what, err)
		}
		for j := range c.Jobs(t.Context(), onceq.JobFilter{All: true}) {
			t.Errorf("%s: job %s is there", what, j.ID)
		}
	}
	for _, name := range []string{"", "a\nb", strings.Repeat("a", 129)} {
		if _, err := onceq.NewClient(memstore.New(nil), &onceq.Config{Codec: broken{name: name}}); err == nil {
			t.Errorf("a codec of name %q is taken", name)
		}
	}
	if _, err := onceq.NewClient(memstore.New(nil), &onceq.Config{Codec: (*broken)(nil)}); err == nil {
		t.Error("a codec that is a nil pointer is taken")
	}
}

func TestTheBoundOfArgsIsThatOfTheirCode(t *testing.T) {
	c := clientOf(t, memstore.New(nil), &onceq.Config{Codec: newHexes(), MaxArgs: 200})
	if _, err := c.Enqueue(t.Context(), onceq.Bytes("b", make([]byte, 80))); err != nil {
		t.Error(err)
	}
	_, err := c.Enqueue(t.Context(), onceq.Bytes("b", make([]byte, 100)))
	if err == nil || !strings.Contains(err.Error(), "encoded by hex/1") {
		t.Error(err)
	}
	small := clientOf(t, memstore.New(nil), &onceq.Config{MaxArgs: 200,
		Codec: broken{"zip", func() ([]byte, error) { return []byte("small"), nil }}})
	if _, err := small.Enqueue(t.Context(), onceq.Bytes("b", make([]byte, 1000))); err != nil {
		t.Error(err)
	}
}

func TestBytesThatLookEncodedAreRefusedWithoutACodec(t *testing.T) {
	store := memstore.New(nil)
	r, err := clientOf(t, store, &onceq.Config{Codec: newHexes()}).Enqueue(t.Context(), mail{"a"})
	if err != nil {
		t.Fatal(err)
	}
	plain := clientOf(t, store, nil)
	var invalid *onceq.InvalidError
	if _, err := plain.Enqueue(t.Context(), onceq.Bytes("b", r.Job.Args)); !errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
	if _, err := plain.DecodeArgs(t.Context(), r.Job); !errors.Is(err, onceq.ErrUndecoded) {
		t.Errorf("%v", err)
	}
}

func TestJSONSaysThatArgsAreEncoded(t *testing.T) {
	c := clientOf(t, memstore.New(nil), &onceq.Config{Codec: newHexes()})
	r, err := c.Enqueue(t.Context(), mail{"a"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(r.Job)
	if err != nil || !bytes.Contains(raw, []byte(`"encoding":"bytes","encoded_by":"hex/1"`)) {
		t.Errorf("%s, %v", raw, err)
	}
}

// strictly has fewer members than mail.
type strictly struct{}

func (strictly) Kind() string { return "mail" }

// number is mail with a number in place of a text.
type number struct {
	To int8 `json:"to"`
}

func (number) Kind() string { return "mail" }

func TestErrorsOfDecodingHaveNoValuesOfArgs(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		id := b.enqueue(onceq.JSON("mail", []byte(`{"to":4111111111111111}`)), onceq.MaxAttempts(1))
		w := b.worker(onceq.WorkerConfig{Drain: true})
		onceq.Handle(w, func(context.Context, *onceq.Job[number]) error { return nil })
		if err := b.run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		text := b.wants(id, onceq.Discarded).Errors[0].Error
		if strings.Contains(text, "4111") || !strings.Contains(text, "cannot unmarshal number") {
			t.Error(text)
		}
	})
}

func TestAStrictHandlerFailsOnMembersThatItDoesNotKnow(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		wants := map[string]string{`{"to":"ada","bcc":"eve"}`: `"to"`, `{}`: "", `{"new":{"deep":1}}`: `"new"`}
		ids := map[string]string{}
		for args := range wants {
			ids[args] = b.enqueue(onceq.JSON("mail", []byte(args)), onceq.MaxAttempts(1))
		}
		w := b.worker(onceq.WorkerConfig{Drain: true})
		onceq.Handle(w, func(context.Context, *onceq.Job[strictly]) error { return nil }, onceq.Strict())
		if err := b.run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		for args, want := range wants {
			if want == "" {
				b.wants(ids[args], onceq.Completed)
				continue
			}
			text := b.wants(ids[args], onceq.Discarded).Errors[0].Error
			for _, word := range []string{want, "strictly", "Strict"} {
				if !strings.Contains(text, word) {
					t.Errorf("%s: no %s in %s", args, word, text)
				}
			}
		}
	})
}

// torn decodes to what is no JSON, as a codec does that cannot tell a wrong key.
type torn struct{ hexes }

func (torn) Decode(context.Context, string, []byte) ([]byte, error) { return []byte("\x00Q4111"), nil }

// blabber is a codec that panics with the args.
type blabber struct{ hexes }

func (b blabber) Decode(ctx context.Context, kind string, code []byte) ([]byte, error) {
	plain, _ := b.hexes.Decode(ctx, kind, code)
	panic("cannot decode " + string(plain))
}

func TestNeitherErrorsNorTheLogRepeatEncodedArgs(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		for what, c := range map[string]struct {
			codec onceq.Codec
			state onceq.State
			want  string
		}{
			"no JSON":                {torn{newHexes()}, onceq.Discarded, "no valid JSON at byte 1"},
			"a panic with the args":  {blabber{newHexes()}, onceq.Scheduled, "it panicked with a value of type string"},
			"a panic of the runtime": {hexes{}, onceq.Scheduled, "it panicked: runtime error"},
		} {
			var log bytes.Buffer
			codec := c.codec
			if what == "a panic of the runtime" {
				codec = broken{"hex/1", func() ([]byte, error) { return []byte{[]byte(nil)[len(log.Bytes())]}, nil }}
			}
			r, err := clientOf(t, b.store, &onceq.Config{Codec: newHexes()}).Enqueue(t.Context(), mail{"Q4111"},
				onceq.MaxAttempts(1))
			if err != nil {
				t.Fatal(err)
			}
			w := b.worker(onceq.WorkerConfig{ID: "w", Drain: true,
				Client: clientOf(t, b.store, &onceq.Config{Codec: codec}),
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			onceq.Handle(w, fine)
			if err := b.run(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			text := b.wants(r.Job.ID, c.state).Errors[0].Error
			// An ID, and a worker's usual name, may have these digits by chance.
			said := strings.ReplaceAll(text+log.String(), r.Job.ID, "")
			if !strings.Contains(text, c.want) || strings.Contains(said, "4111") ||
				strings.Contains(text, "invalid character") {
				t.Errorf("%s: %s\n%s", what, text, &log)
			}
			if _, err := b.client.Cancel(t.Context(), r.Job.ID); err != nil && c.state == onceq.Scheduled {
				t.Fatal(err)
			}
		}
	})
}

func TestAWaitOfASecretEnqueueDoesNotShowTheTextOfTheHolder(t *testing.T) {
	inBubble(t, func() onceq.Store { return memstore.New(nil) }, func(t *testing.T, b *bubble) {
		for i, end := range []error{nil, onceq.Discard(errors.New("no"))} {
			key := onceq.UniqueKey(fmt.Sprint("s3cr3t", i))
			b.enqueue(mail{"a"}, key, onceq.ReadableKey)
			r, err := b.client.Enqueue(t.Context(), mail{"a"}, key, onceq.SecretKey)
			if err != nil || r.Outcome != onceq.Skipped {
				t.Fatal(r, err)
			}
			w := b.worker(onceq.WorkerConfig{Drain: true})
			onceq.Handle(w, func(context.Context, *onceq.Job[mail]) error { return end })
			if err := b.run(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			job, err := r.Wait(t.Context())
			if failed := (*onceq.FailedError)(nil); errors.As(err, &failed) {
				job = failed.Job
			}
			if job == nil || !strings.HasPrefix(job.KeyText, "sha256:") {
				t.Errorf("%+v, %v", job, err)
			}
		}
	})
}

func TestASecretKeyIsNotRepeatedByAnErrorOrAHint(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	long := "s3cr3t" + strings.Repeat("x", 2000)
	_, err := c.Enqueue(t.Context(), mail{"a"}, onceq.UniqueKey(long), onceq.SecretKey)
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "s3cr3t") {
		t.Error(err)
	}
	const uuid = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
	e, err := c.Explain(t.Context(), mail{"a"}, onceq.UniqueKey(uuid), onceq.SecretKey)
	if err != nil || !strings.Contains(e.Hint, "a random UUID") {
		t.Errorf("%+v, %v", e, err)
	}
	if raw, _ := json.Marshal(e); bytes.Contains(raw, []byte(uuid)) {
		t.Errorf("%s", raw)
	}
}

func TestADuplicateOfASecretKeyIsLoggedWithADigest(t *testing.T) {
	var log bytes.Buffer
	c := clientOf(t, memstore.New(nil), &onceq.Config{DuplicateLevel: slog.LevelWarn,
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, secrecy := range []onceq.Option{onceq.ReadableKey, onceq.SecretKey} {
		if _, err := c.Enqueue(t.Context(), mail{"a"}, onceq.UniqueKey("s3cr3t"), secrecy); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(log.String(), "sha256:") || strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("%s", &log)
	}
}

// TestACodecChangesNoOutcome: random enqueues and runs answer alike with and
// without a codec, and handlers see the same args.
func TestACodecChangesNoOutcome(t *testing.T) {
	policies := []onceq.ConflictPolicy{onceq.Skip, onceq.Reject, onceq.Coalesce, onceq.Supersede,
		onceq.Replace{Args: true, RunAt: true}, onceq.Debounce{MaxWait: time.Minute}}
	rapid.Check(t, func(t *rapid.T) {
		var now atomic.Int64
		now.Store(1_800_000_000_000)
		clock := func() time.Time { return time.UnixMilli(now.Load()) }
		stores := []onceq.Store{memstore.New(clock), memstore.New(clock)}
		var clients []*onceq.Client
		for i, s := range stores {
			c, err := onceq.NewClient(s, &onceq.Config{Codec: []onceq.Codec{nil, newHexes()}[i]})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			clients = append(clients, c)
			_, err = s.Extend(context.Background(), onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
		}
		for n := range rapid.IntRange(1, 20).Draw(t, "steps") {
			policy := rapid.SampledFrom(policies).Draw(t, "policy")
			opts := []onceq.Option{onceq.ID(fmt.Sprint(n)), onceq.OnConflict(policy)}
			if rapid.Bool().Draw(t, "fields") {
				opts = append(opts, onceq.Unique{Fields: []string{"a"}})
			} else {
				opts = append(opts, onceq.Unique{})
			}
			if _, debounced := policy.(onceq.Debounce); debounced || rapid.Bool().Draw(t, "later") {
				opts = append(opts, onceq.Delay(time.Second))
			}
			args := onceq.JSON("k", []byte(rapid.SampledFrom([]string{`{"a":1}`, `{ "a":1.0}`, `{"a":1,"b":2}`,
				`{"a":2}`}).Draw(t, "args")))
			step := rapid.SampledFrom([]string{"enqueue", "enqueue", "start", "finish", "time"}).Draw(t, "step")
			var said []string
			for i, c := range clients {
				said = append(said, outcome(c, stores[i], step, n, args, opts))
			}
			if step == "time" {
				now.Add(700)
			}
			if said[0] != said[1] {
				t.Fatalf("%s: without a codec %s, with one %s", step, said[0], said[1])
			}
		}
	})
}

// outcome takes a step and says all that is to be the same: what is answered,
// and what jobs there are then.
func outcome(c *onceq.Client, s onceq.Store, step string, n int, args onceq.Args, opts []onceq.Option) string {
	ctx := context.Background()
	var said []string
	switch step {
	case "enqueue":
		r, err := c.Enqueue(ctx, args, opts...)
		said = append(said, string(r.Outcome), fmt.Sprint(err != nil))
		if r.Conflict != nil {
			said = append(said, r.Conflict.Holder, string(r.Conflict.State), fmt.Sprint(r.Conflict.ArgsDiffer))
		}
	case "start":
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: int64(n + 1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		said = append(said, fmt.Sprint(len(f.Jobs), err))
	case "finish":
		for j := range c.Jobs(ctx, onceq.JobFilter{States: []onceq.State{onceq.Running}}) {
			r, err := s.Finish(ctx, onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: "w",
				State: onceq.Completed}}})
			said = append(said, fmt.Sprint(r, err))
		}
	}
	var jobs []string
	for j, err := range c.Jobs(ctx, onceq.JobFilter{All: true, Args: true}) {
		if err == nil {
			j, err = c.DecodeArgs(ctx, j)
		}
		if err != nil {
			return err.Error()
		}
		jobs = append(jobs, fmt.Sprint(j.ID, j.State, string(j.Args), j.Encoding, j.Behind, j.RunAt, j.Key, j.Digest))
	}
	slices.Sort(jobs)
	return strings.Join(append(said, jobs...), "\n")
}

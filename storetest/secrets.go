package storetest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// secret is a value that nobody is to read.
const secret = "s3cr3t-w0rd-941"

// vault is a codec: AES-GCM, bound to the kind, with a random nonce. Its keys
// are numbers; the newest is the last.
type vault []byte

func (v vault) Name() string { return fmt.Sprintf("vault/%d", v[len(v)-1]) }

func (v vault) Encode(_ context.Context, kind string, args []byte) ([]byte, error) {
	id := v[len(v)-1]
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return vaultKey(id).Seal(append([]byte{id}, nonce...), nonce, args, []byte(kind)), nil
}

func (v vault) Decode(_ context.Context, kind string, code []byte) ([]byte, error) {
	if len(code) < 13 || !bytes.Contains(v, code[:1]) {
		return nil, errors.New("no such key")
	}
	return vaultKey(code[0]).Open(nil, code[1:13], code[13:], []byte(kind))
}

func vaultKey(id byte) cipher.AEAD {
	block, err := aes.NewCipher(bytes.Repeat([]byte{id}, 16))
	if err != nil {
		panic(err)
	}
	sealed, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return sealed
}

// withCodec is a client that has these keys, besides w.client that has none.
func (w *world) withCodec(keys ...byte) *onceq.Client {
	w.Helper()
	c := w.clientOf(w.Store, &onceq.Config{Codec: vault(keys)})
	w.stops = append(w.stops, func() { c.Close() })
	return c
}

// through lets a step use another client.
func (w *world) through(c *onceq.Client, step func()) {
	before := w.client
	w.client = c
	defer func() { w.client = before }()
	step()
}

// plain is the args of a job as the codec decodes them.
func (w *world) plain(c *onceq.Client, id string) string {
	w.Helper()
	j, err := c.DecodeArgs(w.ctx, w.job(id))
	w.must(err)
	return string(j.Args)
}

// drain runs what is due, with a client, and returns the args that handlers got.
func (w *world) drain(c *onceq.Client) (got []string) {
	w.Helper()
	worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{Client: c, Drain: true, Lease: time.Second,
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	worker.HandleAny(func(_ context.Context, j *onceq.JobRow) error {
		got = append(got, j.Encoding+" "+string(j.Args))
		return nil
	})
	w.must(worker.Run(w.ctx))
	w.must(worker.Close())
	return got
}

// silent wants no part of what a caller can see to have the secret. The args of
// jobs have it, unless a codec encodes them.
func (w *world) silent(what string, values ...any) {
	w.Helper()
	for _, v := range values {
		switch x := v.(type) {
		case *onceq.JobRow:
			own := *x.Clone()
			own.Args = nil
			v = own
		case onceq.Receipt:
			w.silent(what, x.Job, x.Conflict)
			continue
		case error:
			v = x.Error()
		}
		raw, err := json.Marshal(v)
		w.must(err)
		for _, text := range []string{string(raw), fmt.Sprintf("%+v", v)} {
			if strings.Contains(text, secret) {
				w.Fatalf("%s has the secret: %s", what, text)
			}
		}
	}
}

// secretKeys are ways for the secret to be part of a key.
var secretKeys = map[string]struct {
	args onceq.Args
	opts []onceq.Option
}{
	"args":   {mail{secret, "1"}, []onceq.Option{onceq.Unique{}}},
	"fields": {mail{secret, "1"}, []onceq.Option{onceq.Unique{Fields: []string{"to"}}}},
	"own":    {mail{"a", "1"}, []onceq.Option{onceq.UniqueKey("card " + secret)}},
	"bytes":  {onceq.Bytes("mail", []byte(secret)), []onceq.Option{onceq.Unique{}}},
}

// secrets: what a key was made of, and args, are kept from those who are not to
// read them.
var secrets = []scenario{
	{"a_secret_key_shows_a_digest_wherever_its_text_stands", func(w *world) {
		for name, c := range secretKeys {
			opts := append([]onceq.Option{onceq.SecretKey}, c.opts...)
			r := w.enqueue(onceq.Inserted, c.args, opts...)
			digest := "sha256:" + r.Job.Key.String()
			equal(w, name, line(r.Job.KeyText, w.job(r.Job.ID).KeyText, w.holds(r.Job).Text),
				line(digest, digest, digest))
			dup := w.enqueue(onceq.Skipped, c.args, opts...)
			equal(w, name, line(dup.Conflict.Text, dup.Conflict.ArgsDiffer), line(digest, false))
			_, refused := w.client.Enqueue(w.ctx, c.args, append(opts, reject)...)
			w.wantErr(refused, onceq.ErrDuplicate)
			explained, err := w.client.Explain(w.ctx, c.args, opts...)
			w.must(err)
			equal(w, name, explained.Text, digest)
			w.silent(name, r, dup, refused, explained.Conflict, explained.Text, w.holds(r.Job), w.job(r.Job.ID))
			w.silent(name+" as JSON", explained)
			for _, j := range w.jobs() {
				w.silent("a list", j)
			}
			equal(w, name, *r.Job.Key, w.keyOf(c.args, c.opts...)) // the key itself is as ever
			w.complete(w.start())
			w.free(r.Job)
			w.silent(name, w.job(r.Job.ID))
			w.remove(r.Job.ID)
		}
	}},
	{"a_secret_enqueue_does_not_repeat_the_text_that_it_meets", func(w *world) {
		for name, c := range secretKeys {
			for _, first := range []onceq.Option{onceq.SecretKey, onceq.ReadableKey} {
				for _, second := range []onceq.Option{onceq.SecretKey, onceq.ReadableKey} {
					j := w.insert(c.args, append([]onceq.Option{first}, c.opts...)...)
					digest := "sha256:" + j.Key.String()
					opts := append([]onceq.Option{second}, c.opts...)
					r := w.enqueue(onceq.Skipped, c.args, opts...)
					_, err := w.client.Enqueue(w.ctx, c.args, append(opts, reject)...)
					w.wantErr(err, onceq.ErrDuplicate)
					kept := first == onceq.SecretKey
					if second == onceq.SecretKey {
						w.silent(name, r, err)
						equal(w, "text", line(r.Conflict.Text, r.Job.KeyText), line(digest, digest))
					} else {
						equal(w, "the holder's text", r.Conflict.Text == digest, kept)
					}
					equal(w, "what is kept", w.job(j.ID).KeyText == digest, kept)
					w.complete(w.start())
					w.remove(j.ID)
				}
			}
		}
	}},
	{"each_job_of_a_secret_key_keeps_the_text_of_its_own_enqueue", func(w *world) {
		own := onceq.UniqueKey(secret)
		for _, policy := range []onceq.Option{coalesce, supersede} {
			first := w.insert(task(1), own)
			run := w.start()
			r, err := w.client.Enqueue(w.ctx, task(2), own, policy, onceq.SecretKey)
			w.must(err)
			w.silent("the waiter", r, w.job(r.Job.ID))
			equal(w, "the running one", strings.Contains(w.job(first.ID).KeyText, secret), true)
			w.ends(run, onceq.Finish{State: onceq.Completed}, onceq.Completed)
			w.silent("its key", w.holds(r.Job))
			w.complete(w.start())
		}
		a := w.insert(task(1), own, onceq.SecretKey, onceq.Unique{Window: time.Hour})
		w.complete(w.start())
		w.remove(a.ID)
		held := w.holder(*a.Key)
		equal(w, "gone", held.Gone, true)
		w.silent("the key of a job that is gone", held)
		w.silent("a conflict with it", w.enqueue(onceq.Skipped, task(1), own))
	}},
	{"a_secret_is_nowhere_in_the_store", func(w *world) {
		if w.Bytes == nil {
			return // memory has no bytes to look at
		}
		has := func() bool {
			all := w.Bytes()
			return bytes.Contains(all, []byte(secret)) ||
				bytes.Contains(all, []byte(hex.EncodeToString([]byte(secret))))
		}
		c := w.withCodec(1)
		w.through(c, func() {
			for _, k := range secretKeys {
				opts := append([]onceq.Option{onceq.SecretKey, onceq.Unique{Window: time.Hour}}, k.opts...)
				j := w.insert(k.args, opts...)
				w.enqueue(onceq.Replaced, k.args, append(opts, replace(onceq.Replace{Args: true}))...)
				w.enqueue(onceq.Skipped, k.args, opts...)
				w.fail(w.starts(j.ID), 0)
				w.complete(w.starts(j.ID))
			}
			w.insert(mail{secret, "implied"}, onceq.Unique{}) // a codec makes a secret of a key of args
			w.enqueue(onceq.Replaced, mail{secret, "implied"}, onceq.Unique{}, coalesce)
			run := w.start()
			w.enqueue(onceq.Coalesced, mail{secret, "implied"}, onceq.Unique{}, coalesce)
			w.enqueue(onceq.Replaced, mail{secret, "implied"}, onceq.Unique{}, coalesce)
			w.complete(run)
			w.must(errors.Join(first(c.PutPeriodic(w.ctx, onceq.Periodic{Name: "p", Schedule: "@every 1h",
				Args: mail{secret, "p"}, Options: []onceq.Option{onceq.Unique{}}}))))
			w.must(errors.Join(first(c.TickNow(w.ctx, "p"))))
		})
		equal(w, "it is there", has(), false)
		w.insert(task(1), onceq.UniqueKey(secret)) // else nothing was shown: the bytes do have texts
		equal(w, "a readable key is there", has(), true)
	}},
	{"encoded_args_reach_the_handler_as_they_were", func(w *world) {
		before, both, after := w.withCodec(1), w.withCodec(1, 2), w.withCodec(2)
		w.through(before, func() {
			w.insert(onceq.JSON("mail", []byte(` {"to": "ada"} `)), onceq.ID("1"))
			w.insert(onceq.Bytes("mail", nil), onceq.Unique{}, onceq.ID("2"))
		})
		w.through(both, func() { w.insert(mail{"bob", ""}, onceq.ID("3")) })
		w.insert(task(7), onceq.ID("4")) // of a client without a codec
		for _, j := range w.jobs()[:3] {
			equal(w, "stored", j.Encoding, onceq.EncodingBytes)
			equal(w, "by a vault", strings.HasPrefix(j.EncodedBy(), "vault/"), true)
		}
		equal(w, "the last", w.jobs()[3].EncodedBy(), "")
		equal(w, "got", strings.Join(w.drain(both), "|"), `json  {"to": "ada"} |bytes |json {"to":"bob"}|json 7`)
		w.through(after, func() { w.insert(mail{"eve", ""}) })
		equal(w, "got", strings.Join(w.drain(after), "|"), `json {"to":"eve"}`)
	}},
	{"args_that_the_codec_does_not_decode_spend_no_attempt", func(w *world) {
		c := w.withCodec(1)
		var j *onceq.JobRow
		w.through(c, func() { j = w.insert(mail{secret, "1"}, onceq.Unique{}, onceq.MaxAttempts(1)) })
		for i, without := range []*onceq.Client{w.client, w.withCodec(2)} {
			equal(w, "got", len(w.drain(without)), 0)
			got := w.is(j.ID, onceq.Scheduled)
			equal(w, "attempts", got.Attempt, 0)
			equal(w, "errors", len(got.Errors), i+1)
			equal(w, "delay", got.RunAt.Sub(w.now), []time.Duration{15 * time.Second, 30 * time.Second}[i])
			text := got.Errors[i].Error
			for _, word := range []string{j.ID, `"mail"`, `"vault/1"`, []string{"Config.Codec", `"vault/2"`}[i]} {
				if !strings.Contains(text, word) {
					w.Fatalf("the error does not name %s: %s", word, text)
				}
			}
			w.silent("the error", got)
			w.holds(got)
			w.after(time.Minute)
		}
		equal(w, "got", strings.Join(w.drain(c), "|"), `json {"to":"`+secret+`","body":"1"}`)
		w.is(j.ID, onceq.Completed)
	}},
	{"a_job_that_is_asked_to_stop_ends_though_its_args_do_not_decode", func(w *world) {
		var j *onceq.JobRow
		w.through(w.withCodec(1), func() { j = w.insert(mail{"ada", ""}, onceq.Unique{}) })
		w.drain(w.client)
		w.cancel(j.ID)
		w.is(j.ID, onceq.Cancelled)
		w.free(j)
	}},
	{"whatever_writes_args_writes_their_code", func(w *world) {
		c := w.withCodec(1)
		own := onceq.UniqueKey("k")
		w.through(c, func() {
			for _, policy := range []onceq.ConflictPolicy{onceq.Replace{Args: true}, onceq.Coalesce,
				onceq.Debounce{MaxWait: time.Hour}} {
				opts := []onceq.Option{own, onceq.Delay(time.Minute), onceq.OnConflict(policy)}
				j := w.insert(mail{"1", ""}, opts...)
				w.enqueue(onceq.Replaced, mail{"2", ""}, opts...)
				equal(w, "by", w.job(j.ID).EncodedBy(), "vault/1")
				equal(w, policy.(fmt.Stringer).String(), w.plain(c, j.ID), `{"to":"2"}`)
				w.remove(j.ID)
			}
			first := w.insert(mail{"1", ""}, own, coalesce)
			run := w.start()
			waiter := w.enqueue(onceq.Coalesced, mail{"2", ""}, own, coalesce).Job
			w.enqueue(onceq.Replaced, mail{"3", ""}, own, coalesce)
			equal(w, "the waiter", w.plain(c, waiter.ID), `{"to":"3"}`)
			equal(w, "the holder", w.plain(c, first.ID), `{"to":"1"}`)
			w.complete(run)
			w.remove(waiter.ID)
		})
		// Some programs have the codec, and some do not yet.
		j := w.insert(mail{"1", ""}, onceq.Unique{Fields: []string{"to"}}, onceq.Delay(time.Minute))
		text := j.KeyText
		w.through(c, func() {
			w.enqueue(onceq.Replaced, mail{"1", "new"}, onceq.Unique{Fields: []string{"to"}}, coalesce)
		})
		equal(w, "by", w.job(j.ID).EncodedBy(), "vault/1")
		equal(w, "text", w.job(j.ID).KeyText, text)
		w.enqueue(onceq.Replaced, mail{"1", "newer"}, onceq.Unique{Fields: []string{"to"}}, coalesce)
		equal(w, "by", w.job(j.ID).EncodedBy(), "")
		equal(w, "args", string(w.job(j.ID).Args), `{"to":"1","body":"newer"}`)
		whole := w.insert(mail{"2", "whole"}, onceq.Unique{}) // its text repeats its args
		w.through(c, func() {
			w.enqueue(onceq.Replaced, mail{"2", "whole"}, onceq.Unique{}, coalesce)
		})
		equal(w, "text", w.job(whole.ID).KeyText, whole.KeyText)
		equal(w, "by", w.job(whole.ID).EncodedBy(), "vault/1")
	}},
	{"encoded_args_are_compared_by_value", func(w *world) {
		c, rotated := w.withCodec(1), w.withCodec(1, 2)
		w.through(c, func() {
			w.insert(onceq.JSON("mail", []byte(`{"to":"ada","n":1.0}`)), onceq.Unique{Fields: []string{"to"}})
			w.insert(onceq.JSON("mail", []byte(`{"to":"bob"}`)), onceq.ID("x"))
		})
		for _, by := range []*onceq.Client{c, rotated, w.client} {
			for args, differ := range map[string]bool{`{"n":1,"to":"ada"}`: false, `{"n":2,"to":"ada"}`: true} {
				r, err := by.Enqueue(w.ctx, onceq.JSON("mail", []byte(args)), onceq.Unique{Fields: []string{"to"}})
				w.must(err)
				equal(w, args, line(r.Outcome, r.Conflict.ArgsDiffer), line(onceq.Skipped, differ))
			}
			for args, differ := range map[string]bool{` {"to":"bob"}`: false, `{"to":"eve"}`: true} {
				r, err := by.Enqueue(w.ctx, onceq.JSON("mail", []byte(args)), onceq.ID("x"))
				w.must(err)
				// Without the codec nobody knows: then they differ.
				equal(w, args, line(r.Outcome, r.Conflict.ArgsDiffer), line(onceq.Skipped, differ || by == w.client))
				e, err := by.Explain(w.ctx, onceq.JSON("mail", []byte(args)), onceq.ID("x"))
				w.must(err)
				equal(w, args, e.Conflict.ArgsDiffer, differ || by == w.client)
			}
		}
	}},
	{"a_schedule_keeps_the_code_of_args_that_did_not_change", func(w *world) {
		c := w.withCodec(1)
		p := onceq.Periodic{Name: "p", Schedule: "@every 1h", Args: mail{secret, "p"}}
		row := func(by *onceq.Client, p onceq.Periodic) string {
			_, err := by.PutPeriodic(w.ctx, p)
			w.must(err)
			return w.scheduleRow().ID
		}
		made := row(c, p)
		equal(w, "put again", row(c, p), made)
		w.silent("the row", string(w.scheduleRow().Args))
		other := p
		other.Args = mail{secret, "q"}
		changed := row(c, other)
		equal(w, "put with other args", changed != made, true)
		rotated := row(w.withCodec(1, 2), other)
		equal(w, "put by a codec of another name", rotated != changed, true)
		r, err := w.withCodec(2).TickNow(w.ctx, "p")
		w.must(err)
		equal(w, "args of a tick", w.plain(w.withCodec(2), r.Job.ID), `{"to":"`+secret+`","body":"q"}`)
	}},
}

func first[T any](_ T, err error) error { return err }

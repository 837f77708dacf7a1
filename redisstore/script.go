package redisstore

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is one of the files in lua/, with lib.lua in front. The header of
// each says what it takes and answers.
type script struct {
	name   string
	text   func() (source, sha any) // strings, made when it is first sent
	writes bool
	bulk   bool // its answer may be large
}

// bookkeeping is the part of names.lua that pages.lua needs.
const bookkeeping = `local call, sub, byte = redis.call, string.sub, string.byte
local floor, unpk, jobs, ix = math.floor, struct.unpack, KEYS[1], KEYS[3]
`

func load(name string, writes bool) *script {
	return &script{name: name, writes: writes, text: sync.OnceValues(func() (any, any) {
		source := whole(name)
		if name == "enqueue" { // the library is made only for rows that are not plain
			source = "local function judge(rows, at)\n" + whole("judge") + "end\n" +
				"local function book(comes, is, set, add)\n" + bookkeeping + lua("pages") +
				"open = is\nidpages(comes, {}, true, set, {}, add, {})\nend\n" + lua(name)
		}
		sum := sha1.Sum([]byte(source))
		return source, hex.EncodeToString(sum[:])
	})}
}

// whole is a script and what it needs; see names.lua.
func whole(name string) string {
	return lua("names") + "local function whole()\n" + preamble() + lua(name) + "end\nreturn whole()\n"
}

var preamble = sync.OnceValue(func() string {
	return lua("lib") + lua("pages") + lua("rows") + lua("moves") + lua("model")
})

// lua is one of the files, spelled out.
func lua(name string) string {
	b, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // it is embedded
	}
	return spell(string(b))
}

var (
	luaInit    = load("init", true)
	luaEnqueue = load("enqueue", true)
	luaFetch   = load("fetch", true)
	luaFinish  = load("finish", true)
	luaExtend  = load("extend", true)
	luaChange  = load("change", true)
	luaSweep   = load("sweep", true)
	luaLost    = load("lost", true)
	luaAwait   = load("await", true)
	luaMigrate = load("migrate", true)
	luaCheck   = load("check", false)
	luaGet     = load("get", false)
	luaList    = load("list", false)
	luaFew     = load("few", false)
	luaKeys    = load("keys", false)
	luaScan    = load("scan", false)
	luaProfile = load("profile", false)
	luaQueues  = load("queues", false)
	luaWorkers = load("workers", false)
	luaNotes   = load("notes", false)
	luaNote    = load("note", true)
)

func init() {
	for _, s := range []*script{luaFetch, luaGet, luaList, luaFew, luaNotes, luaChange} {
		s.bulk = true
	}
}

// large is the size in bytes from which a call gets the time-outs of bulk.
const large = 64 << 10

// perScript is how many jobs of a partition one script call takes. The
// server does nothing else meanwhile.
const perScript = 200

// call is a command that the client library never repeats by itself: the
// store judges what may have happened.
type call struct{ *redis.Cmd }

// NoRetry is true.
func (call) NoRetry() bool { return true }

// trip is one script call on one partition.
type trip struct {
	script *script
	part   int
	args   []any // without token, sender and channel
	whole  []any // args with room for the head in front of them, if there is any
	size   int   // bytes of the args, where they may be many

	wire  *wire
	reply []any // without token, stamp and what to wake
	now   int64
	gen   string // the generation, see profiles
	err   error
	why   error // of the last try that failed and was not cut short
}

// wire is the token of a call. It knows whether it was ever written to a
// connection: a call that was not has certainly not happened.
type wire struct {
	token token
	sent  atomic.Bool
}

// MarshalBinary is called by the client library when it writes the call.
func (w *wire) MarshalBinary() ([]byte, error) {
	w.sent.Store(true)
	return w.token[:], nil
}

// token is a random number.
type token [8]byte

func newToken() (t token) {
	binary.LittleEndian.PutUint64(t[:], rand.Uint64())
	return t
}

// is reports whether a value of a reply is this token.
func (t *token) is(v any) bool { return text(v) == string(t[:]) }

// head is the number of arguments in front of those of a script: command,
// script, keys, and what lib.lua lists.
const head = 2 + 1 + 4 + 3

// do makes script calls, in one network round trip if it can, and fills in
// their replies. A call that has not happened, for a reason that passes by
// itself (the server loads, is busy, fails over, moves the slot), is tried
// again for as long as ctx and Config.Patience allow. It returns the first
// error.
func (s *Store) do(ctx context.Context, trips ...*trip) error {
	over := ctx.Err()
	for _, t := range trips {
		t.wire, t.err = &wire{token: newToken()}, over
	}
	if over != nil {
		return over
	}
	deadline := time.Now().Add(s.patience(ctx))
	todo := trips
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		s.send(ctx, todo)
		for _, t := range todo {
			t.why = better(t.why, t.err)
		}
		s.look(ctx, todo)
		var again []*trip
		answered := len(todo) < len(trips)
		for _, t := range todo {
			answered = answered || t.err == nil
		}
		for _, t := range todo {
			if t.script == luaFetch && answered && t.err != nil {
				continue // other partitions have work meanwhile
			}
			if t.transient() || t.err != nil && !t.script.writes && !t.definite() && ctx.Err() == nil {
				again = append(again, t)
			}
		}
		if len(again) == 0 || time.Now().Add(wait).After(deadline) || !s.pause(ctx, wait) {
			break
		}
		todo = again
	}
	var first error
	for _, t := range trips {
		if t.err == nil {
			continue
		}
		uncertain := !t.definite() && t.script.writes
		if !uncertain {
			t.err = t.why
		}
		t.err = s.advise(t.err)
		t.err = afterEnd(ctx, t.err)
		if uncertain {
			t.err = fmt.Errorf("redisstore: %s: %w (%w)", t.script.name, t.err, onceq.ErrUncertain)
		} else {
			t.err = fmt.Errorf("redisstore: %s: %w", t.script.name, t.err)
		}
		if first == nil || errors.Is(t.err, onceq.ErrUncertain) && !errors.Is(first, onceq.ErrUncertain) {
			first = t.err
		}
	}
	return first
}

// glance is how long a call under NoWait waits for an absent server. If it
// fails, its rows are sent one by one, and those calls wait.
const glance = time.Second

type hurried struct{} // the key of a context value

func (s *Store) patience(ctx context.Context) time.Duration {
	if ctx.Value(hurried{}) != nil {
		return min(glance, s.config.Patience)
	}
	return s.config.Patience
}

// look makes the client of a cluster ask again which node serves which
// slot, when that seems to have changed. (The library does so by itself
// every ten seconds.)
func (s *Store) look(ctx context.Context, trips []*trip) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return
	}
	for _, t := range trips {
		if t.err != nil && (t.transient() || !t.definite()) && !redis.HasErrorPrefix(t.err, "TRYAGAIN") {
			cluster.ReloadState(ctx)
			return
		}
	}
}

// pause waits before something is tried again. It returns false if ctx or
// the store has ended.
func (s *Store) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.closing:
	}
	return false
}

// send makes each call once, or again where the script or the partition has
// to be brought to the server first; such a call has not happened.
func (s *Store) send(ctx context.Context, trips []*trip) {
	s.exchange(ctx, trips, false)
	if unknown := having(trips, func(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }); len(
		unknown) > 0 {
		s.exchange(ctx, unknown, true)
	}
	if unset := having(trips, func(err error) bool { return err == errSetUp }); len(unset) > 0 {
		s.begin(ctx, unset)
	}
	if waiting := having(trips, func(err error) bool { return err == errMoving }); len(waiting) > 0 {
		s.help(ctx, waiting)
	}
}

// having returns the trips with such an error.
func having(trips []*trip, is func(error) bool) (some []*trip) {
	for _, t := range trips {
		if t.err != nil && is(t.err) {
			some = append(some, t)
		}
	}
	return some
}

// begin sets up the partitions of calls that found none, and makes the
// calls again.
func (s *Store) begin(ctx context.Context, unset []*trip) {
	var inits []*trip
	done := map[int]bool{}
	for _, t := range unset {
		if !done[t.part] {
			done[t.part] = true
			inits = append(inits, s.initTrip(t.part))
		}
	}
	s.exchange(ctx, inits, true)
	for _, i := range inits {
		if err := s.checkInit(i); err != nil {
			for _, t := range unset {
				if t.part == i.part {
					t.err = err
				}
			}
			return
		}
	}
	s.log(slog.LevelWarn, "onceq: the data were gone", "namespace", s.config.Namespace, "partitions", len(inits),
		"hint", "the store begins anew: was the server flushed, or did it start without its files?")
	s.exchange(ctx, unset, true)
}

// exchange sends the calls and reads the replies, once.
func (s *Store) exchange(ctx context.Context, trips []*trip, whole bool) {
	s.tries.Add(1)
	calls := make([]call, len(trips))
	for i, t := range trips {
		t.err = nil
		t.wire.sent.Store(false)
		args := t.whole
		if args == nil {
			args = append(make([]any, head, head+len(t.args)), t.args...)
		}
		source, sha := t.script.text()
		args[0], args[1] = "evalsha", sha
		if whole {
			args[0], args[1] = "eval", source
		}
		args[2] = 4
		copy(args[3:], s.parts[t.part].args)
		args[7], args[8], args[9] = t.wire, s.signs[0], s.signs[1]
		if t.script == luaNotes || t.script == luaNote { // they alone have a fifth key
			args[2] = 5
			args = slices.Insert(args, 7, any(s.parts[t.part].notes()))
		}
		calls[i] = call{redis.NewCmd(ctx, args...)}
	}
	client := s.conns.usual
	if slices.ContainsFunc(trips, func(t *trip) bool { return t.script.bulk || t.size > large }) {
		client = s.conns.bulk
	}
	if s.acks() && trips[0].script.writes && trips[0].script != luaInit {
		s.acked(ctx, trips, calls)
	} else if len(calls) == 1 {
		_ = client.Process(ctx, calls[0]) // the call keeps its error
	} else {
		pipe := client.Pipeline()
		for _, c := range calls {
			_ = pipe.Process(ctx, c)
		}
		_, _ = pipe.Exec(ctx)
	}
	for i, t := range trips {
		if t.err == nil || !errors.Is(t.err, errUnacknowledged) {
			t.err = t.read(calls[i])
		}
	}
	for _, t := range trips {
		if t.err == nil && t.script != luaInit {
			s.woke(t)
		}
	}
}

// read takes a reply apart. A reply that does not begin with the token of
// its request belongs to another request.
func (t *trip) read(c call) error {
	reply, err := c.Slice()
	if err != nil {
		return err
	}
	if len(reply) < 2 || !t.wire.token.is(reply[0]) {
		return fmt.Errorf("the answer is not that of the request")
	}
	now, ok := reply[1].(string)
	if !ok {
		return noForm(reply[2:])
	}
	if t.script == luaInit {
		t.reply = reply[1:]
		return nil
	}
	r := reader{s: now}
	t.now, t.gen, t.reply = r.num(6), r.s, reply[2:]
	return nil
}

// noForm is the error of a call whose partition has an unknown form, from
// the value of its "v".
func noForm(v []any) error {
	switch form := text(append(v, nil)[0]); formOf(form) {
	case "":
		return errSetUp
	case formMoving:
		return errMoving
	default:
		return definite(fmt.Sprintf("the data is in form %q, of a later version of onceq: use that version, or "+
			"another namespace", form))
	}
}

// woke tells the listeners of this process which queues have a due job.
func (s *Store) woke(t *trip) {
	queues, _ := t.reply[0].([]any)
	for _, q := range queues {
		name, _ := q.(string)
		s.wakes.notify(name)
	}
	t.reply = t.reply[1:]
}

// text and list read a value of a reply.
func text(v any) string { s, _ := v.(string); return s }
func list(v any) []any  { l, _ := v.([]any); return l }
func number(v any) int64 {
	n, _ := v.(int64)
	return n
}

package sqlitestore

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// job is a row of onceq_jobs that was read or is about to be written.
type job struct {
	*rules.Job
	was   place // where the database counts the row
	ended bool  // only what sql/end.sql writes has changed
	bare  bool  // the args were not read
	size  int   // bytes of args that were not read
	apart bool  // the args are in onceq_args
}

// inline is the length up to which args are kept in the row of their job.
// Longer args are stored apart, because each change of the row would copy
// them.
const inline = 8 << 10

// place is where a row is counted.
type place struct {
	queue string
	state onceq.State
}

// states are the stored states, by their numbers.
var states = [...]onceq.State{onceq.Scheduled, onceq.Retryable, onceq.Running, onceq.Completed, onceq.Discarded,
	onceq.Cancelled}

func stateNo(s onceq.State) int64 {
	for i, state := range states {
		if state == s {
			return int64(i)
		}
	}
	panic("sqlitestore: a job cannot be stored as " + string(s))
}

// millis is the number of milliseconds of an instant; 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// The columns that scanJob reads. A column costs a driver more than it
// costs us to read a word of a text. So numbers and names come as one text.
// Names are separated by NUL, which they cannot contain; the one that could
// is the last. A driver copies the name and the declared type of each column
// at each query: so the names are short, and expressions have no type.
const (
	jobColumns  = jobNames + `, iif(typeof(j.args) = 'integer', j.args, octet_length(j.args)) b, ` + jobRest
	fullColumns = jobNames + `, +j.args b, ` + jobRest

	jobNames = `concat_ws(char(0), concat_ws(' ', j.seq, j.state, j.priority, j.run_at, j.attempt, j.run, j.fetch_no,
		j.enqueued_at, j.anchor, j.started_at, j.finished_at, j.prune_at),
		j.id, j.kind, j.queue, j.behind, j.key_text) a`
	jobRest = `+j.worker c, +j.key d, +j.terms e, +j.more f`

	jobWidth = 6
)

// noJob reports whether these columns have no job, because an outer join
// found none.
func noJob(v []any) bool { return v[4] == nil }

// scanJob reads a row of jobColumns.
func scanJob(v []any) (*job, error) {
	var n [12]int64
	head, names, _ := strings.Cut(text(v[0]), "\x00")
	if err := numbers(head, n[:]); err != nil {
		return nil, err
	}
	read := &struct { // a single allocation
		job
		row rules.Job
	}{}
	j := &read.job
	j.Job = &read.row
	j.Seq, j.RunMS, j.FetchNo, j.AnchorMS, j.PruneMS = n[0], n[3], n[6], n[8], n[11]
	for _, name := range []*string{&j.ID, &j.Kind, &j.Queue, &j.Behind} {
		*name, names, _ = strings.Cut(names, "\x00")
	}
	j.KeyText, j.Worker = names, text(v[2])
	switch args := v[1].(type) {
	case int64: // the length of the args
		j.bare, j.size = true, int(args)
	default:
		j.Args = blob(args)
	}
	if n[1] < 0 || n[1] >= int64(len(states)) {
		return nil, fmt.Errorf("job %s: unknown state %d", j.ID, n[1])
	}
	j.State, j.Priority, j.Attempt, j.Run = states[n[1]], int(n[2]), int(n[4]), n[5]
	j.EnqueuedAt, j.StartedAt, j.FinishedAt = onceq.Instant(n[7]), onceq.Instant(n[9]), onceq.Instant(n[10])
	if k := blob(v[3]); len(k) == len(onceq.Key{}) {
		key := onceq.Key(k)
		j.Key = &key
	}
	if err := j.unpackTerms(blob(v[4])); err != nil {
		return nil, fmt.Errorf("job %s: %w", j.ID, err)
	}
	if m := blob(v[5]); len(m) > 0 {
		if err := j.unpackMore(m); err != nil {
			return nil, fmt.Errorf("job %s: %w", j.ID, err)
		}
	}
	j.was = place{j.Queue, j.State}
	return j, nil
}

// numbers reads integers that are separated by single spaces.
func numbers(s string, into []int64) error {
	for i := range into {
		word, rest, _ := strings.Cut(s, " ")
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return fmt.Errorf("a row cannot be read: %w", err)
		}
		into[i], s = n, rest
	}
	return nil
}

// The flags of terms.
const (
	flagBytes = 1 << iota
	flagFromEnqueue
	flagKeyless
	flagCancelRequested
	flagKey
	flagFailed // RetentionFailed stands at the end
)

var origins = [...]onceq.Outcome{onceq.Inserted, onceq.Coalesced, onceq.Superseded}

// packTerms packs what an enqueue chose and what is never searched for:
// version, flags, origin, max attempts, timeout, retention, nonce; with a
// key, until, window, TTL and the digest of the args; and the retention of a
// failed job, if it is another. Lengths of time are milliseconds, numbers are
// varints.
func (j *job) packTerms() []byte {
	b := make([]byte, 0, 64)
	flags := byte(0)
	for _, f := range []struct {
		on   bool
		flag byte
	}{{j.Encoding == onceq.EncodingBytes, flagBytes}, {j.Hold.FromEnqueue, flagFromEnqueue}, {j.Keyless, flagKeyless},
		{j.CancelRequested, flagCancelRequested}, {j.Key != nil, flagKey},
		{j.RetentionFailed != j.Retention, flagFailed}} {
		if f.on {
			flags |= f.flag
		}
	}
	origin := byte(0)
	for i, o := range origins {
		if o == j.Origin {
			origin = byte(i)
		}
	}
	b = append(b, termsVersion(j.apart), flags, origin)
	b = binary.AppendUvarint(b, uint64(j.MaxAttempts))
	b = binary.AppendUvarint(b, uint64(j.Timeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(j.Retention.Milliseconds()))
	b = append(b, j.Nonce[:]...)
	if j.Key != nil {
		b = append(b, byte(j.Hold.Until))
		b = binary.AppendUvarint(b, uint64(j.Hold.Window.Milliseconds()))
		b = binary.AppendUvarint(b, uint64(j.Hold.TTL.Milliseconds()))
		b = append(b, j.Digest[:]...)
	}
	if flags&flagFailed != 0 {
		b = binary.AppendUvarint(b, uint64(j.RetentionFailed.Milliseconds()))
	}
	return b
}

// termsVersion is the first byte of terms. A program that does not know
// onceq_args reads only version 1, and so leaves a job alone whose args it
// would not find.
func termsVersion(apart bool) byte {
	if apart {
		return 2
	}
	return 1
}

var errTerms = errors.New("its terms cannot be read")

func (j *job) unpackTerms(b []byte) error {
	if len(b) < 3 || b[0] != 1 && b[0] != 2 || int(b[2]) >= len(origins) {
		return errTerms
	}
	j.apart = b[0] == 2
	flags := b[1]
	j.Origin, b = origins[b[2]], b[3:]
	ok := true
	number := func() int64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			ok = false
			return 0
		}
		b = b[size:]
		return int64(n)
	}
	raw := func() (r [16]byte) {
		ok = ok && len(b) >= len(r)
		b = b[copy(r[:], b):]
		return r
	}
	j.Encoding = onceq.EncodingJSON
	if flags&flagBytes != 0 {
		j.Encoding = onceq.EncodingBytes
	}
	j.Keyless, j.CancelRequested = flags&flagKeyless != 0, flags&flagCancelRequested != 0
	j.MaxAttempts, j.Timeout, j.Retention = int(number()), length(number()), length(number())
	j.Nonce = raw()
	if flags&flagKey != 0 {
		if len(b) == 0 {
			return errTerms
		}
		j.Hold.Until, j.Hold.FromEnqueue, b = onceq.Until(b[0]), flags&flagFromEnqueue != 0, b[1:]
		j.Hold.Window, j.Hold.TTL = length(number()), length(number())
		j.Digest = raw()
	}
	j.RetentionFailed = j.Retention
	if flags&flagFailed != 0 {
		j.RetentionFailed = length(number())
	}
	if !ok {
		return errTerms
	}
	return nil
}

func length(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// more has what most jobs do not have.
type more struct {
	Meta         json.RawMessage `json:"meta,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	Displaced    string          `json:"displaced,omitempty"`
	SupersededBy string          `json:"superseded_by,omitempty"`
	Errors       []failure       `json:"errors,omitempty"`
	Extra        []byte          `json:"extra,omitempty"`
}

// failure is the stored form of an AttemptError.
type failure struct {
	Attempt int       `json:"attempt"`
	Run     int64     `json:"run"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
	Stack   string    `json:"stack,omitempty"`
}

func (j *job) packMore() (string, error) {
	if len(j.MetaJSON) == 0 && len(j.Tags) == 0 && j.Displaced == "" && j.SupersededBy == "" && len(j.Errors) == 0 &&
		len(j.Extra) == 0 {
		return "", nil
	}
	if len(j.Tags) == 0 && j.Displaced == "" && j.SupersededBy == "" && len(j.Errors) == 0 && len(j.Extra) == 0 {
		return `{"meta":` + string(j.MetaJSON) + `}`, nil
	}
	m := more{j.MetaJSON, j.Tags, j.Displaced, j.SupersededBy, make([]failure, len(j.Errors)), j.Extra}
	for i, e := range j.Errors {
		m.Errors[i] = failure(e)
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func (j *job) unpackMore(b []byte) error {
	var m more
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	j.MetaJSON, j.Tags, j.Displaced, j.SupersededBy, j.Errors = m.Meta, m.Tags, m.Displaced, m.SupersededBy, nil
	j.Extra = m.Extra
	for _, e := range m.Errors {
		j.Errors = append(j.Errors, onceq.AttemptError(e))
	}
	return nil
}

// placeArgs decides where new args are stored.
func (j *job) placeArgs() { j.bare, j.size, j.apart = false, 0, len(j.Args) > inline }

// argsSize is the length of the args, whether they were read or not.
func (j *job) argsSize() int { return j.size + len(j.Args) }

// rowArgs is what the row of a job has in the column args.
func (j *job) rowArgs() any {
	if j.apart {
		return int64(j.argsSize())
	}
	return j.argsValue()
}

// argsValue is the args as the database keeps them: JSON is text, so that
// people and SQL can read it.
func (j *job) argsValue() any {
	if j.Encoding == onceq.EncodingJSON {
		return string(j.Args)
	}
	if j.Args == nil {
		return []byte{}
	}
	return j.Args
}

// resultValue is the result as the database keeps it; NULL = none.
func (j *job) resultValue() any {
	if j.Result == nil {
		return nil
	}
	return j.Result
}

func (j *job) keyValue() []byte {
	if j.Key == nil {
		return []byte{}
	}
	return j.Key[:]
}

// insertValues are the arguments of insert_job.sql.
func (j *job) insertValues() ([]any, error) {
	m, err := j.packMore()
	return []any{j.Seq, j.ID, j.Kind, j.Queue, j.rowArgs(), stateNo(j.State), int64(j.Priority), j.RunMS, j.Behind,
		j.keyValue(), j.KeyText,
		millis(j.EnqueuedAt), j.AnchorMS, millis(j.FinishedAt), j.PruneMS, j.packTerms(), m}, err
}

// updateValues are the arguments of update_job.sql; those of
// update_job_args.sql have the args after them.
func (j *job) updateValues() ([]any, error) {
	m, err := j.packMore()
	return []any{j.Seq, j.Queue, stateNo(j.State), int64(j.Priority), j.RunMS, j.Behind, int64(j.Attempt), j.Run,
		j.Worker, j.FetchNo,
		j.KeyText, j.AnchorMS, millis(j.StartedAt), millis(j.FinishedAt), j.PruneMS, j.packTerms(), m, j.Kind}, err
}

// heldKey is a row of onceq_keys, or one that does not exist yet.
type heldKey struct {
	rules.Key
	holder, waiter int64 // numbers of the holder and the waiter, as read; 0 = none
	stored         bool  // the database has a row
}

// orphan reports whether the job that the row names does not exist.
func (k *heldKey) orphan() bool { return k.stored && k.Holder == nil && k.Gone == nil }

// gone is the stored form of what is known of a holder whose row is gone.
type gone struct {
	ID     string      `json:"id"`
	Kind   string      `json:"kind"`
	Queue  string      `json:"queue"`
	Text   string      `json:"text"`
	State  onceq.State `json:"state"`
	Digest string      `json:"digest"` // hex
}

// keyColumns is what {key} stands for in sql/*.sql, in the order that
// scanKey reads.
const keyColumns = `concat_ws(' ', k.holder, k.pending, k.frees_at, k.since, k.next) g, +k.gone h, +k.key i`

const keyWidth = 3

// scanKey reads a row of keyColumns.
func scanKey(v []any) (*heldKey, error) {
	name := blob(v[2])
	if len(name) != len(onceq.Key{}) {
		return nil, fmt.Errorf("key %x is not 32 bytes long", name)
	}
	var n [5]int64
	if err := numbers(text(v[0]), n[:]); err != nil {
		return nil, err
	}
	return newKey(onceq.Key(name), n, blob(v[1]))
}

func newKey(name onceq.Key, n [5]int64, g []byte) (*heldKey, error) {
	k := &heldKey{holder: n[0], waiter: n[4], stored: true}
	k.Name, k.Pending, k.FreesMS, k.SinceMS = name, onceq.Until(n[1]), n[2], n[3]
	if len(g) > 0 {
		var was gone
		if err := json.Unmarshal(g, &was); err != nil {
			return nil, fmt.Errorf("key %s: %w", k.Name, err)
		}
		k.Gone = &rules.Gone{ID: was.ID, Kind: was.Kind, Queue: was.Queue, Text: was.Text, State: was.State}
		_, _ = hex.Decode(k.Gone.Digest[:], []byte(was.Digest))
	}
	return k, nil
}

// values are the arguments of put_key.sql.
func (k *heldKey) values() ([]any, error) {
	var text []byte
	var err error
	if g := k.Gone; g != nil {
		text, err = json.Marshal(gone{g.ID, g.Kind, g.Queue, g.Text, g.State, hex.EncodeToString(g.Digest[:])})
	}
	return []any{k.Name[:], seqOf(k.Holder), int64(k.Pending), k.FreesMS, k.SinceMS, seqOf(k.Waiter), string(text)}, err
}

// seqOf is the number of a job; 0 = there is no job.
func seqOf(j *rules.Job) int64 {
	if j == nil {
		return 0
	}
	return j.Seq
}

// Drivers differ in the Go types that they return; these functions read any
// of them.

func integer(v any) int64 {
	n, _ := v.(int64)
	return n
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func blob(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

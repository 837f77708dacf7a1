package pgstore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceq/onceq"
)

// record reads one row of an answer, column by column, whatever way it came: in binary or as text, by pgx or by database/sql. NULL is the
// zero value. The first thing that cannot be read is its err.
type record struct {
	fields []pgconn.FieldDescription
	raw    [][]byte
	values []any // in place of raw, from database/sql
	at     int
	err    error
}

// next returns the next column: bytes in binary or as text, or a value of database/sql.
func (r *record) next() (raw []byte, isBinary bool, value any) {
	at := r.at
	r.at++
	if r.values != nil {
		return nil, false, r.values[at]
	}
	return r.raw[at], r.fields[at].Format == pgx.BinaryFormatCode, nil
}

func (r *record) fail(what string, value any) {
	if r.err == nil {
		r.err = fmt.Errorf("pgstore: column %d: %s, not %v", r.at, what, value)
	}
}

func (r *record) int64() int64 {
	raw, isBinary, value := r.next()
	switch v := value.(type) {
	case nil:
	case int64:
		return v
	case []byte:
		raw = v
	case string:
		raw = []byte(v)
	default:
		r.fail("an integer was expected", value)
		return 0
	}
	switch {
	case raw == nil:
		return 0
	case isBinary && len(raw) == 8:
		return int64(binary.BigEndian.Uint64(raw))
	case isBinary && len(raw) == 4:
		return int64(int32(binary.BigEndian.Uint32(raw)))
	case isBinary && len(raw) == 2:
		return int64(int16(binary.BigEndian.Uint16(raw)))
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || isBinary {
		r.fail("an integer was expected", raw)
	}
	return n
}

func (r *record) int() int { return int(r.int64()) }

func (r *record) bool() bool {
	raw, isBinary, value := r.next()
	switch v := value.(type) {
	case bool:
		return v
	case []byte:
		raw = v
	case string:
		raw = []byte(v)
	}
	if isBinary {
		return len(raw) == 1 && raw[0] == 1
	}
	return len(raw) > 0 && raw[0] == 't'
}

func (r *record) string() string {
	raw, _, value := r.next()
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return string(raw)
}

// json returns the text of a JSON column; it is not kept.
func (r *record) json() []byte {
	raw, _, value := r.next()
	switch v := value.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return raw
}

// bytes returns a copy of a bytea column, and nil for NULL.
func (r *record) bytes() []byte {
	raw, isBinary, value := r.next()
	if v, ok := value.([]byte); ok {
		return bytes.Clone(v)
	}
	if raw == nil || isBinary {
		return bytes.Clone(raw)
	}
	if len(raw) < 2 || raw[0] != '\\' || raw[1] != 'x' {
		r.fail("bytea in hexadecimal was expected", raw)
		return nil
	}
	b := make([]byte, hex.DecodedLen(len(raw)-2))
	if _, err := hex.Decode(b, raw[2:]); err != nil {
		r.fail("bytea in hexadecimal was expected", err)
	}
	return b
}

// The states as they are stored; 6 is shown only.
var (
	stateOf = [...]onceq.State{onceq.Scheduled, onceq.Retryable, onceq.Running, onceq.Completed, onceq.Discarded, onceq.Cancelled, onceq.Available}
	codeOf  = map[onceq.State]int16{}
)

const (
	codeRetryable = 1
	codeRunning   = 2
	codeCompleted = 3
)

// outcomeOf are the outcomes as functions answer them.
var outcomeOf = [...]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced, onceq.Superseded}

func init() {
	for code, s := range stateOf {
		codeOf[s] = int16(code)
	}
}

func (r *record) state() onceq.State {
	code := r.int()
	if code < 0 || code >= len(stateOf) {
		r.fail("a state was expected", code)
		return ""
	}
	return stateOf[code]
}

func (r *record) length() time.Duration { return time.Duration(r.int64()) * time.Millisecond }

func (r *record) instant() time.Time { return instant(r.int64()) }

// instant is a time as it is handed out; Never and 0 are the zero time.
func instant(ms int64) time.Time {
	if ms == onceq.Never || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// job reads the columns {job}; nil where they are all null.
func (r *record) job(now int64) *onceq.JobRow {
	j := &onceq.JobRow{ID: r.string()}
	if j.ID == "" {
		r.at += len(jobColumns) - 1
		return nil
	}
	j.Kind, j.Queue, j.Args, j.Encoding = r.string(), r.string(), r.bytes(), onceq.EncodingJSON
	if r.bool() {
		j.Encoding = onceq.EncodingBytes
	}
	j.Meta = r.meta()
	if tags := r.json(); tags != nil {
		r.decode(tags, &j.Tags)
	}
	stored := r.int()
	j.Priority, j.Attempt, j.MaxAttempts, j.Run = r.int(), r.int(), r.int(), r.int64()
	j.Timeout, j.Retention = r.length(), r.length()
	if key := r.bytes(); key != nil {
		j.Key = (*onceq.Key)(key)
	}
	j.KeyText = r.string()
	copy(j.Digest[:], r.bytes())
	j.Hold = onceq.Hold{Until: onceq.Until(r.int()), Window: r.length(), TTL: r.length(), FromEnqueue: r.bool()}
	j.Anchor, j.Keyless, j.Behind = r.instant(), r.bool(), r.string()
	if origin := r.int(); origin >= 0 && origin < len(outcomeOf) {
		j.Origin = outcomeOf[origin]
	}
	j.Displaced, j.SupersededBy, j.CancelRequested, j.Worker = r.string(), r.string(), r.bool(), r.string()
	j.EnqueuedAt = r.instant()
	runAt := r.int64()
	j.RunAt, j.StartedAt, j.FinishedAt = instant(runAt), r.instant(), r.instant()
	if errs := r.json(); errs != nil {
		j.Errors = r.failures(errs)
	}
	switch {
	case stored <= codeRetryable && j.Behind == "" && runAt <= now:
		j.State = onceq.Available
	case stored >= 0 && stored < len(stateOf):
		j.State = stateOf[stored]
	default:
		r.fail("a state was expected", stored)
	}
	return j
}

func (r *record) decode(text []byte, to any) {
	if err := json.Unmarshal(text, to); err != nil {
		r.fail("JSON was expected", err)
	}
}

func (r *record) meta() map[string]any {
	text := r.json()
	if text == nil {
		return nil
	}
	m, err := decodeMeta(text)
	if err != nil {
		r.fail("a JSON object was expected", err)
	}
	return m
}

func decodeMeta(text []byte) (m map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&m)
	return m, err
}

// failure is an AttemptError as it is kept.
type failure struct {
	Attempt int    `json:"attempt"`
	Run     int64  `json:"run"`
	At      int64  `json:"at"`
	Error   string `json:"error"`
	Stack   string `json:"stack"`
}

func (r *record) failures(text []byte) (all []onceq.AttemptError) {
	var kept []failure
	r.decode(text, &kept)
	for _, f := range kept {
		all = append(all, onceq.AttemptError{Attempt: f.Attempt, Run: f.Run, At: instant(f.At), Error: f.Error, Stack: f.Stack})
	}
	return all
}

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

// record reads one row of an answer, column by column, in whatever form it
// came: binary or text, from pgx or database/sql. NULL is the zero value.
// err is the first error.
type record struct {
	fields []pgconn.FieldDescription
	raw    [][]byte
	binary bool  // the format, if there are no fields
	values []any // from database/sql, in place of raw
	at     int
	err    error
	row    *record // the result of within, for reuse
	result bool    // jobs are read with their results
}

// next returns the next column: bytes in binary or as text, or a value of
// database/sql.
func (r *record) next() (raw []byte, isBinary bool, value any) {
	at := r.at
	r.at++
	if r.values != nil {
		return nil, false, r.values[at]
	}
	if r.fields == nil {
		return r.raw[at], r.binary, nil
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

// null reports whether the next column is NULL.
func (r *record) null() bool {
	if r.values != nil {
		return r.values[r.at] == nil
	}
	return r.raw[r.at] == nil
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

// json returns the text of a JSON column. It is valid until the next row.
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
	b, ok := decodeBytea(raw)
	if !ok {
		r.fail("bytea was expected", raw)
	}
	return b
}

// decodeBytea reads a bytea as text, in either bytea_output. hex is \x and
// two digits for each byte. escape has \\ for a backslash, and \ with three
// octal digits for what is not printed. The two never begin alike.
func decodeBytea(text []byte) (b []byte, ok bool) {
	if digits, found := bytes.CutPrefix(text, []byte(`\x`)); found {
		b = make([]byte, hex.DecodedLen(len(digits)))
		_, err := hex.Decode(b, digits)
		return b, err == nil
	}
	b = make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			b = append(b, text[i])
		case i+1 < len(text) && text[i+1] == '\\':
			b = append(b, '\\')
			i++
		default:
			if i+3 >= len(text) {
				return nil, false
			}
			n, err := strconv.ParseUint(string(text[i+1:i+4]), 8, 8)
			if err != nil {
				return nil, false
			}
			b = append(b, byte(n))
			i += 3
		}
	}
	return b, true
}

// The states as they are stored. 6 is only shown.
var (
	stateOf = [...]onceq.State{onceq.Scheduled, onceq.Retryable, onceq.Running, onceq.Completed, onceq.Discarded,
		onceq.Cancelled, onceq.Available}
	codeOf = map[onceq.State]int16{}
)

const (
	codeRetryable = 1
	codeRunning   = 2
	codeCompleted = 3
)

// outcomeOf are the outcomes by their numbers in the answers of functions.
var outcomeOf = [...]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced,
	onceq.Superseded}

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

func (r *record) instant() time.Time { return onceq.Instant(r.int64()) }

// within reads the next column, a row, as a record of its own, which is
// valid until the next call; nil for NULL.
func (r *record) within() *record {
	raw, isBinary, value := r.next()
	switch v := value.(type) {
	case []byte:
		raw = v
	case string:
		raw = []byte(v)
	}
	if raw == nil {
		return nil
	}
	if r.row == nil {
		r.row = &record{raw: make([][]byte, 0, jobFields)}
	}
	in := r.row
	in.raw, in.binary, in.at, in.err = in.raw[:0], isBinary, 0, nil
	if isBinary {
		in.splitBinary(raw)
	} else {
		in.splitText(raw)
	}
	return in
}

// splitBinary takes a row apart: the number of fields, then the type, the
// length and the bytes of each.
func (r *record) splitBinary(row []byte) {
	if len(row) < 4 {
		r.fail("a row was expected", row)
		return
	}
	for row = row[4:]; len(row) >= 8; {
		n := int32(binary.BigEndian.Uint32(row[4:]))
		row = row[8:]
		if n < 0 {
			r.raw = append(r.raw, nil)
			continue
		}
		if int(n) > len(row) {
			r.fail("a row was expected", row)
			return
		}
		r.raw = append(r.raw, row[:n:n])
		row = row[n:]
	}
}

// splitText takes a row apart that is written as (a,"b ""quoted""",,\\x00).
// Nothing between commas is NULL.
func (r *record) splitText(row []byte) {
	if len(row) < 2 || row[0] != '(' {
		r.fail("a row was expected", row)
		return
	}
	for at := 1; at < len(row); at++ { // at is the beginning of a field
		if row[at] == ',' || row[at] == ')' {
			r.raw = append(r.raw, nil)
			continue
		}
		field, quoted := []byte{}, false
		for ; at < len(row) && (quoted || row[at] != ',' && row[at] != ')'); at++ {
			switch {
			case row[at] == '"' && quoted && at+1 < len(row) && row[at+1] == '"', row[at] == '\\' && at+1 < len(row):
				at++
				field = append(field, row[at])
			case row[at] == '"':
				quoted = !quoted
			default:
				field = append(field, row[at])
			}
		}
		r.raw = append(r.raw, field)
	}
}

// jobFields is how many columns the table of jobs has. Later versions may
// add some at its end.
const jobFields = 40

// job reads a row of the table of jobs; nil for NULL. Its columns are in
// the order of schema/007_tables.sql.
func (r *record) job(now int64) *onceq.JobRow {
	row := r.within()
	if row == nil {
		return nil
	}
	if len(row.raw) < jobFields {
		r.fail("a job was expected", row.err)
		return nil
	}
	j := row.readJob(now)
	if !r.result {
		j.Result = nil
	}
	if row.err != nil && r.err == nil {
		r.err = row.err
	}
	return j
}

// columns reads the columns of a job in a fetched_v1 or a found_v2; nil if
// there is none.
func (r *record) columns(now int64) *onceq.JobRow {
	if len(r.raw) < r.at+jobFields {
		r.fail("a job was expected", r.raw)
		return nil
	}
	if r.null() { // every job was enqueued at some time
		return nil
	}
	return r.readJob(now)
}

// usualRetention is stored as NULL.
const usualRetention = 24 * time.Hour

func (r *record) readJob(now int64) *onceq.JobRow {
	j := &onceq.JobRow{Encoding: onceq.EncodingJSON, EnqueuedAt: r.instant()}
	runAt := r.int64()
	j.RunAt = onceq.Instant(runAt)
	if r.null() {
		r.next()
		j.Retention = usualRetention
	} else {
		j.Retention = r.length()
	}
	j.Run = r.int64()
	anchored := !r.null()
	j.Anchor, j.StartedAt, j.FinishedAt = r.instant(), r.instant(), r.instant()
	r.int64() // fetch_no
	j.Timeout, j.Hold.Window, j.Hold.TTL = r.length(), r.length(), r.length()
	j.Attempt, j.MaxAttempts = r.int(), r.int()
	stored := r.int()
	j.Priority, j.Hold.Until = r.int(), onceq.Until(r.int())
	if origin := r.int(); origin >= 0 && origin < len(outcomeOf) {
		j.Origin = outcomeOf[origin]
	}
	if r.bool() {
		j.Encoding = onceq.EncodingBytes
	}
	j.CancelRequested, j.Keyless, j.Hold.FromEnqueue = r.bool(), r.bool(), r.bool()
	j.ID, j.Kind, j.Queue = r.string(), r.string(), r.string()
	if key := r.bytes(); len(key) == len(onceq.Key{}) {
		j.Key = (*onceq.Key)(key)
	}
	r.next() // nonce
	copy(j.Digest[:], r.bytes())
	j.Args, j.KeyText, j.Worker, j.Behind, j.Displaced, j.SupersededBy = r.bytes(), r.string(), r.string(), r.string(),
		r.string(), r.string()
	j.KeyText = longText(j.KeyText, j)
	if j.Key != nil && !anchored {
		j.Anchor = onceq.Instant(j.Hold.AnchorAt(j.EnqueuedAt.UnixMilli(), runAt))
	}
	j.Meta = r.meta()
	if tags := r.json(); tags != nil {
		r.decode(tags, &j.Tags)
	}
	if errs := r.json(); errs != nil {
		j.Errors = r.failures(errs)
	}
	j.Result = r.bytes()
	r.next() // trace, which was never used
	j.Extra = r.bytes()
	j.RetentionFailed = j.Retention
	if r.null() {
		r.next()
	} else {
		j.RetentionFailed = r.length()
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

// failure is the stored form of an AttemptError.
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
		all = append(all, onceq.AttemptError{Attempt: f.Attempt, Run: f.Run, At: onceq.Instant(f.At), Error: f.Error,
			Stack: f.Stack})
	}
	return all
}

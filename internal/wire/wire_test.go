package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/wire"
)

const id, text = "01M8ZK3V9GE5T0X4N2R7QWYJ6C", "kind=reindex queue=index fields /repo=42"

var (
	at     = time.Date(2026, 11, 27, 2, 50, 19, 440e6, time.UTC)
	key, _ = onceq.ParseKey("a36dc114d357e297a595ea2ef97a7a4ab35d72f701734505aefde17414c1cb87")
)

// shapes are the values of the examples in docs/json.md, by their names.
func shapes(t *testing.T) map[string]any {
	inserted := &onceq.JobRow{ID: id, Kind: "reindex", Queue: "index", Args: []byte(`{"repo":42}`),
		Encoding: onceq.EncodingJSON, State: onceq.Available, Priority: 5, MaxAttempts: 25, Retention: 24 * time.Hour,
		RetentionFailed: 24 * time.Hour,
		Key:             &key, KeyText: text, Hold: onceq.Hold{Until: onceq.UntilFinished},
		Anchor: at, Origin: onceq.Inserted,
		EnqueuedAt: at, RunAt: at}
	byKey := onceq.Conflict{By: "key", Key: key, Text: text, Holder: id, HolderKind: "reindex", State: onceq.Running,
		Since: at, FreesAt: at.Add(time.Hour), FreesWhen: "finished", ArgsDiffer: true}
	byID := onceq.Conflict{By: "id", Holder: "push:1", HolderKind: "reindex", State: onceq.Completed, Since: at,
		KeptUntil: at.Add(24 * time.Hour)}
	waits := onceq.Conflict{By: "key", Key: key, Text: text, Holder: id, HolderKind: "reindex", State: onceq.Scheduled,
		Since: at, HolderDue: at.Add(24 * time.Hour), FreesWhen: "finished", RunAtDiffers: true}
	gone := &onceq.JobRow{ID: id, Kind: "reindex", Queue: "index", State: onceq.Completed, Key: &key, KeyText: text}
	second := at.Truncate(time.Second).Add(time.Second)
	discarded := &onceq.JobRow{ID: "push:1", Kind: "reindex", Queue: "index",
		Args: []byte(`{"repo": 42, "note": "<b> & c"}`), Encoding: onceq.EncodingJSON,
		Meta: map[string]any{"source": "webhook"}, Tags: []string{"search"}, State: onceq.Discarded, Priority: 5,
		Attempt: 1, MaxAttempts: 1, Run: 2, Timeout: time.Minute, Retention: 24 * time.Hour,
		RetentionFailed: 7 * 24 * time.Hour,
		Extra: []byte(`{"backoff":{"initial_ms":10000,"max_ms":3600000,"factor":3},"trace":{"traceparent":` +
			`"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"vendor=1"}}`),
		Key: &key, KeyText: text,
		Hold:   onceq.Hold{Until: onceq.UntilSucceeded, Window: time.Minute, TTL: time.Hour, FromEnqueue: true},
		Anchor: at, Origin: onceq.Superseded, Displaced: "push:0", Worker: "web-1-4711-k7m2", EnqueuedAt: at,
		RunAt: second, StartedAt: second.Add(10 * time.Millisecond), FinishedAt: second.Add(time.Second),
		Errors: []onceq.AttemptError{{Attempt: 1, Run: 2, At: second.Add(time.Second), Error: "no such repository"}}}
	held := &onceq.HeldKey{Key: key, Text: text, Kind: "reindex", Queue: "index", Holder: "push:1",
		State: onceq.Discarded, Since: at, FreesAt: at.Add(time.Hour), FreesWhen: "deleted"}
	next := "push:2"
	return map[string]any{
		"copy": wire.Copied{Waiting: 200, WaitingThere: 100, Finished: 20, Keys: 299, Paused: 1, Violations: []string{},
			Refused: []string{"job push:1 (kind reindex) was not copied: TO has a job of kind mail with this ID"}},
		"receipt": onceq.Receipt{Job: inserted, Outcome: onceq.Inserted},
		"duplicate": onceq.Receipt{Job: gone, Outcome: onceq.Skipped, Conflict: &onceq.Conflict{By: "key", Key: key,
			Text: text, Holder: id, Gone: true, Since: at, FreesAt: at.Add(time.Hour)}},
		"conflict":                     byKey,
		"conflict by id":               byID,
		"conflict with one that waits": waits,
		"job":                          wire.Job{Job: discarded, Held: held},
		"held key": onceq.HeldKey{Key: key, Text: text, Kind: "reindex", Queue: "index", Holder: "push:1",
			State: onceq.Running, Since: at, FreesWhen: "finished", Waiter: next},
		"released": wire.Released{Key: key, Was: "push:1", Now: &next},
		"worker": onceq.WorkerInfo{Name: "web-1-4711-k3x9", BeatAt: at,
			Since:      at.Add(-50*time.Minute - 19440*time.Millisecond),
			LeaseUntil: at.Add(30 * time.Second), Running: 3, Slots: map[string]int{"index": 4},
			About: []byte(`{"host":"web-1","pid":4711,"version":"v0.1.0","lang":"go","queues":{"index":10},` +
				`"global":{"index":5},"kinds":["reindex"]}`)},
		"queue": onceq.QueueInfo{Name: "index", Paused: true, PausedUntil: at.Add(10 * time.Minute), OldestDue: at,
			AtLeast: []onceq.State{onceq.Completed},
			Counts:  map[onceq.State]int{onceq.Available: 3, onceq.Running: 1, onceq.Completed: 10_000}},
		"stats":       stats(),
		"explanation": explanation(t),
		"accepted line": wire.Line{No: 1, Receipt: onceq.Receipt{Outcome: onceq.Inserted,
			Job: &onceq.JobRow{ID: "a", Kind: "mail", Queue: "default", State: onceq.Available}}},
		"refused line": wire.Line{No: 3, Refused: refusal(t)},
		"bulk": wire.Bulk{Changed: 2, PassedOver: 1, Refused: []wire.Refusal{{ID: "push:1",
			Problem: wire.Problem{Err: &onceq.InvalidError{Field: "state", Value: "running",
				Rule: "cannot be deleted: cancel the job first"}}}}},
		"doctor": onceq.DoctorReport{Jobs: 12, Keys: 3, Inert: 1,
			Violations: []onceq.Violation{{Code: "key-free", Job: "push:1", Key: &key, KeyText: text,
				Text: "the job's terms say that it holds its key, and the key is free"}},
			Growth: []string{"3 finished jobs are kept more than 1h0m0s beyond their retention"}},
		"duplicate error": &onceq.DuplicateError{Kind: "reindex", Queue: "index", Conflict: byID},
		"uncertain":       uncertain(t),
	}
}

func stats() onceq.Stats {
	var a, b onceq.Count
	a.Enqueued, a.Ended = [6]int64{3, 8, 0, 1, 0, 0}, [6]int64{2, 1, 0, 0, 0, 0}
	a.WaitMS, a.RunMS, a.RunClass = 45, 1230, [8]int64{0, 1, 2}
	return onceq.Stats{Now: at, From: at.Truncate(time.Minute).Add(-time.Minute), Step: time.Minute,
		Series: []onceq.Series{{Queue: "index", Kind: "reindex", Points: []onceq.Count{a, b}}},
		Hot:    []onceq.HotKey{{Key: key, Kind: "reindex", Text: text, Holder: id, Count: 8, LastAt: at}},
		Seen: []onceq.Sighting{{At: at, Queue: "index", Kind: "reindex", From: "web-1/4711", Outcome: onceq.Skipped,
			Conflict: onceq.Conflict{By: "key", Key: key, Text: text, Holder: id, State: onceq.Running,
				ArgsDiffer: true}}},
		Terms: []onceq.KindTerms{{Queue: "index", Kind: "reindex",
			Terms: "fields=/repo until=finished on_conflict=skip", FirstAt: at.Add(-time.Hour), LastAt: at}}}
}

// typed is an args type that says something by itself.
type typed struct {
	Repo int `json:"repo"`
}

func (typed) Kind() string                   { return "reindex" }
func (typed) EnqueueOptions() []onceq.Option { return []onceq.Option{onceq.Queue("index")} }

func explanation(t *testing.T) onceq.Explanation {
	c := client(t, memstore.New(time.Now), &onceq.Config{
		Defaults: []onceq.Option{onceq.Unique{TTL: time.Hour}, onceq.Queue("other")},
		Kinds:    map[string][]onceq.Option{"reindex": {onceq.OnConflict(onceq.Coalesce)}},
	})
	e, err := c.Explain(t.Context(), typed{42}, onceq.Unique{Fields: []string{"repo"}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func refusal(t *testing.T) error {
	_, err := client(t, memstore.New(time.Now), nil).Enqueue(t.Context(), typed{}, onceq.Priority(44))
	return err
}

// uncertain is the error of a batch of two whose second answer was lost.
func uncertain(t *testing.T) error {
	c := client(t, lossy{memstore.New(time.Now)}, nil)
	_, err := c.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(typed{1}, onceq.ID("a"), onceq.Retention(0)),
		onceq.NewItem(typed{2}, onceq.ID("b"), onceq.Retention(0))})
	return err
}

type lossy struct{ onceq.Store }

func (l lossy) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	results, err := l.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: r.Rows[:1]})
	return results, errors.Join(err, fmt.Errorf("%w: the connection broke", onceq.ErrUncertain))
}

func client(t *testing.T, store onceq.Store, config *onceq.Config) *onceq.Client {
	c, err := onceq.NewClient(store, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var example = regexp.MustCompile("(?ms)^```json ([a-z ]+)\n(.*?)^```$")

func TestTheExamplesOfTheDocsAreWhatIsPrinted(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	values := shapes(t)
	for _, m := range example.FindAllStringSubmatch(string(page), -1) {
		name, want := m[1], compact(t, m[2])
		if name == "input" {
			continue // tested where it is read
		}
		v, known := values[name]
		if !known {
			t.Errorf("there is no value for the example %q", name)
			continue
		}
		delete(values, name)
		var b bytes.Buffer
		if err := wire.WriteLine(&b, v); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(b.String(), "\n"); got != want {
			t.Errorf("%s:\n%s\ndocs/json.md has\n%s", name, got, want)
		}
	}
	for name := range values {
		t.Errorf("docs/json.md has no example %q", name)
	}
}

func compact(t *testing.T, text string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return b.String()
}

// Whoever encodes a value otherwise than the command does gets the same
// members, only with <, > and & escaped.
func TestAnyEncoderWritesTheSameMembers(t *testing.T) {
	for name, v := range shapes(t) {
		ours, err := jsontext.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(ours, &a) != nil || json.Unmarshal(theirs, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %s and %s", name, ours, theirs)
		}
	}
}

func TestNothingIsShownThatIsNotKnown(t *testing.T) {
	for want, v := range map[string]any{
		`null`: onceq.Receipt{},
		`{"id":"","kind":"","queue":"","state":""}`:                            onceq.JobRow{},
		`{"by":"id","holder":"","args_differ":false}`:                          onceq.Conflict{By: "id"},
		`{"ok":true,"jobs":0,"reserved":0,"keys":0,"inert":0,"violations":[]}`: onceq.DoctorReport{},
		`{"code":"damage","text":"x"}`: onceq.Violation{Code: "damage",
			Text: "x"},
		`{"until":""}`: onceq.Hold{},
		`{"queue":"q","paused":false,"counts":{"scheduled":0,"available":0,"running":0,"retryable":0,"completed":0,` +
			`"discarded":0,"cancelled":0},"at_least":[]}`: onceq.QueueInfo{Name: "q"},
		`{"line":2,"refused":{"detail":"no"}}`: wire.Line{No: 2, Refused: errors.New("no")},
		`{"changed":0,"dry_run":true,"passed_over":0,"refused":[],"more":false,"cursor":null}`: wire.Bulk{DryRun: true,
			Refused: []wire.Refusal{}},
	} {
		got, err := jsontext.Encode(v)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
}

// Args keep their bytes, and those that are not JSON are not taken for a JSON
// string.
func TestArgsAreShownAsWhatTheyAre(t *testing.T) {
	row := onceq.JobRow{ID: "a", EnqueuedAt: at}
	for _, c := range []struct{ args, encoding, want string }{
		{`{"n":12345678901234567890, "t":"<&>\u2028"}`, onceq.EncodingJSON,
			`"args":{"n":12345678901234567890,"t":"<&>\u2028"},"encoding":"json",`},
		{`null`, onceq.EncodingJSON, `"queue":"","args":null,"encoding":"json",`},
		{"\x00\xff", onceq.EncodingBytes, `"queue":"","args_base64":"AP8=","encoding":"bytes",`},
		{"", onceq.EncodingBytes, `"queue":"","args_base64":"","encoding":"bytes",`},
	} {
		row.Args, row.Encoding = []byte(c.args), c.encoding
		got, err := jsontext.Encode(row)
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %s, %v", c.args, got, err)
		}
	}
	row.Args = nil // a list without args
	if got, err := jsontext.Encode(row); err != nil || strings.Contains(string(got), "args") {
		t.Errorf("%s, %v", got, err)
	}
}

// Each public field of a shape is in its JSON, under some name.
func TestEveryFieldIsShown(t *testing.T) {
	hidden := map[string]bool{"Digest": true, "Extra": true} // Extra is shown by what is in it
	for _, v := range []any{onceq.JobRow{}, onceq.AttemptError{}, onceq.HeldKey{}, onceq.QueueInfo{}, onceq.Hold{},
		onceq.Conflict{}, onceq.Explanation{}, onceq.DoctorReport{}, onceq.Violation{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if hidden[f.Name] || !f.IsExported() {
				continue
			}
			empty, full := reflect.New(typ).Elem(), reflect.New(typ).Elem()
			for _, s := range []reflect.Value{empty, full} { // what others depend on
				for name, x := range map[string]any{"EnqueuedAt": at, "By": "key", "Encoding": onceq.EncodingJSON} {
					if field := s.FieldByName(name); field.IsValid() {
						field.Set(reflect.ValueOf(x))
					}
				}
			}
			full.Field(i).Set(some(t, f.Type))
			without, err := jsontext.Encode(empty.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if with, err := jsontext.Encode(full.Interface()); err != nil || string(with) == string(without) {
				t.Errorf("%s.%s makes no difference to %s, %v", typ, f.Name, with, err)
			}
		}
	}
}

// some is a value of a type that is not its zero value.
func some(t *testing.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch v.Interface().(type) {
	case time.Time:
		return reflect.ValueOf(at.Add(time.Hour))
	case map[string]any:
		return reflect.ValueOf(map[string]any{"x": 1})
	case map[onceq.State]int:
		return reflect.ValueOf(map[onceq.State]int{onceq.Running: 1})
	case onceq.State:
		return reflect.ValueOf(onceq.Running)
	case []onceq.State:
		return reflect.ValueOf([]onceq.State{onceq.Running})
	case []byte:
		return reflect.ValueOf([]byte("1"))
	case onceq.Hold:
		return reflect.ValueOf(onceq.Hold{Until: onceq.UntilDue})
	case []onceq.Term:
		return reflect.ValueOf([]onceq.Term{{Name: "a"}})
	}
	switch typ.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Second))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(typ, 1, 1))
	case reflect.Array:
		v.Index(0).Set(some(t, typ.Elem()))
	default:
		t.Fatalf("no value of type %s", typ)
	}
	return v
}

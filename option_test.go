package onceq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// recorder is a store that remembers the rows it was given.
type recorder struct {
	onceq.Store
	rows []onceq.NewRow
}

func (r *recorder) Enqueue(ctx context.Context, req onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	r.rows = append(r.rows, req.Rows...)
	return r.Store.Enqueue(ctx, req)
}

// enqueued returns the row that an enqueue decided.
func enqueued(t *testing.T, config *onceq.Config, args onceq.Args, opts ...onceq.Option) onceq.NewRow {
	t.Helper()
	rec := &recorder{Store: memstore.New(nil)}
	client, err := onceq.NewClient(rec, config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Enqueue(t.Context(), args, opts...); err != nil {
		t.Fatal(err)
	}
	return rec.rows[0]
}

// refused returns the error of an enqueue that must be refused before
// anything is sent.
func refused(t *testing.T, config *onceq.Config, args onceq.Args, opts ...onceq.Option) *onceq.InvalidError {
	t.Helper()
	rec := &recorder{Store: memstore.New(nil)}
	client, err := onceq.NewClient(rec, config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Enqueue(t.Context(), args, opts...)
	var inv *onceq.InvalidError
	if !errors.As(err, &inv) {
		t.Fatalf("want an *InvalidError, got %v", err)
	}
	if len(rec.rows) != 0 {
		t.Fatalf("the store was asked although the enqueue was refused: %v", err)
	}
	if inv.Field == "" || inv.Rule == "" {
		t.Fatalf("the error names no field or no rule: %+v", inv)
	}
	if text := inv.Error() + strings.Join(inv.Path, ""); strings.ContainsAny(text, "\x02\x03") {
		t.Fatalf("a mark is left in %q", text)
	}
	return inv
}

type push struct {
	Repo int    `json:"repo"`
	By   string `json:"by"`
}

func (push) Kind() string { return "push" }

type hourly struct {
	Region string `json:"region"`
}

func (hourly) Kind() string { return "hourly" }
func (hourly) EnqueueOptions() []onceq.Option {
	return []onceq.Option{onceq.Queue("reports"), onceq.Unique{TTL: time.Hour, Fields: []string{"region"}},
		onceq.Priority(3)}
}

func TestOptionsMergeOverFourLevels(t *testing.T) {
	config := &onceq.Config{
		Defaults: []onceq.Option{onceq.Queue("a"), onceq.Priority(1), onceq.MaxAttempts(2), onceq.Timeout(time.Second),
			onceq.Unique{TTL: time.Minute}},
		Kinds: map[string][]onceq.Option{"hourly": {onceq.Priority(7), onceq.Unique{Until: onceq.UntilSucceeded}}},
	}
	row := enqueued(t, config, hourly{"eu"}, onceq.Timeout(2*time.Second))
	if row.Queue != "reports" || row.Priority != 7 || row.MaxAttempts != 2 || row.Timeout != 2*time.Second {
		t.Errorf("queue %q priority %d attempts %d timeout %v", row.Queue, row.Priority, row.MaxAttempts, row.Timeout)
	}
	if want := (onceq.Hold{Until: onceq.UntilSucceeded, TTL: time.Hour}); row.Claim.Hold != want {
		t.Errorf("hold %+v, want %+v", row.Claim.Hold, want)
	}
	if !strings.Contains(row.Claim.Text, "region") {
		t.Errorf("the fields of the type's level are lost: %s", row.Claim.Text)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	row := enqueued(t, nil, push{1, "x"})
	if row.Queue != "default" || row.Priority != 5 || row.MaxAttempts != 25 || row.Retention != 24*time.Hour ||
		row.Claim != nil || row.Timeout != 0 {
		t.Errorf("%+v", row)
	}
	row = enqueued(t, nil, push{1, "x"}, onceq.Unique{})
	if want := (onceq.Hold{Until: onceq.UntilFinished}); row.Claim.Hold != want {
		t.Errorf("hold %+v, want %+v", row.Claim.Hold, want)
	}
}

func TestForeverUndoesATTL(t *testing.T) {
	config := &onceq.Config{Defaults: []onceq.Option{onceq.Unique{TTL: time.Minute}}}
	if row := enqueued(t, config, push{}, onceq.Unique{TTL: onceq.Forever}); row.Claim.Hold.TTL != 0 {
		t.Errorf("TTL %v", row.Claim.Hold.TTL)
	}
}

func TestNotUniqueSwitchesOffAndALaterUniqueOnAgainOverWhatWasSaid(t *testing.T) {
	config := &onceq.Config{Defaults: []onceq.Option{onceq.Unique{TTL: time.Minute}, onceq.NotUnique}}
	if row := enqueued(t, config, push{}); row.Claim != nil {
		t.Error("unique although it was switched off")
	}
	if row := enqueued(t, config, push{}, onceq.Unique{}); row.Claim == nil || row.Claim.Hold.TTL != time.Minute {
		t.Errorf("claim %+v, want the TTL of the defaults", row.Claim)
	}
	if row := enqueued(t, config, push{}, onceq.UniqueKey("k")); row.Claim == nil || row.Claim.Hold.TTL != time.Minute {
		t.Errorf("claim %+v, want the TTL of the defaults", row.Claim)
	}
}

func TestResetUniqueForgetsEarlierLevels(t *testing.T) {
	config := &onceq.Config{Defaults: []onceq.Option{onceq.Unique{TTL: time.Minute, Until: onceq.UntilDeleted},
		onceq.OnConflict(onceq.Reject)}}
	row := enqueued(t, config, push{}, onceq.ResetUnique, onceq.Unique{})
	if want := (onceq.Hold{Until: onceq.UntilFinished}); row.Claim.Hold != want || row.Reactions.Refuses() {
		t.Errorf("hold %+v reactions %+v", row.Claim.Hold, row.Reactions)
	}
	if row := enqueued(t, config, push{}, onceq.ResetUnique); row.Claim != nil {
		t.Error("unique although everything was forgotten")
	}
}

func TestALaterLevelsKeyDropsEarlierFieldsAndTheOtherWayRound(t *testing.T) {
	fields := &onceq.Config{Defaults: []onceq.Option{onceq.Unique{Fields: []string{"repo"}, TTL: time.Hour}}}
	byKey := enqueued(t, fields, push{1, "x"}, onceq.UniqueKey("k"))
	if !strings.Contains(byKey.Claim.Text, `key="k"`) || byKey.Claim.Hold.TTL != time.Hour {
		t.Errorf("%s %+v", byKey.Claim.Text, byKey.Claim.Hold)
	}
	key := &onceq.Config{Defaults: []onceq.Option{onceq.UniqueKey("k")}}
	byFields := enqueued(t, key, push{1, "x"}, onceq.Unique{Fields: []string{"repo"}})
	if strings.Contains(byFields.Claim.Text, `key="k"`) || !strings.Contains(byFields.Claim.Text, "repo") {
		t.Errorf("%s", byFields.Claim.Text)
	}
	kept := enqueued(t, key, push{1, "x"}, onceq.Unique{TTL: time.Hour})
	if !strings.Contains(kept.Claim.Text, `key="k"`) {
		t.Errorf("a level that names no fields dropped the key: %s", kept.Claim.Text)
	}
}

func TestAKeyOfOnesOwnIsScopedToItsKindUnlessSaid(t *testing.T) {
	a, b := push{1, "x"}, hourly{"eu"}
	reset := onceq.ResetUnique
	if enqueued(t, nil, a, onceq.UniqueKey("k")).Claim.Key == enqueued(t, nil, b, reset,
		onceq.UniqueKey("k")).Claim.Key {
		t.Error("two kinds share a key by accident")
	}
	if enqueued(t, nil, a, onceq.UniqueKey("k", onceq.ByKey)).Claim.Key != enqueued(t, nil, b, reset,
		onceq.UniqueKey("k", onceq.ByKey)).Claim.Key {
		t.Error("ByKey is not the literal alone")
	}
	if enqueued(t, nil, a, onceq.UniqueKey("k", onceq.ByQueue)).Claim.Key != enqueued(t, nil, b, reset,
		onceq.Queue("default"), onceq.UniqueKey("k", onceq.ByQueue)).Claim.Key {
		t.Error("ByQueue depends on more than the queue")
	}
}

func TestDebounceTakesUntilStartedWhenUnsaid(t *testing.T) {
	row := enqueued(t, nil, push{}, onceq.Unique{}, onceq.Delay(time.Second),
		onceq.OnConflict(onceq.Debounce{MaxWait: time.Minute}))
	if row.Claim.Hold.Until != onceq.UntilStarted || row.MaxWait != time.Minute {
		t.Errorf("%+v %v", row.Claim.Hold, row.MaxWait)
	}
}

func TestCombinationsThatCannotMeanAnythingAreRefused(t *testing.T) {
	unique := onceq.Unique{}
	second, minute := time.Second, time.Minute
	debounce := onceq.OnConflict(onceq.Debounce{MaxWait: minute})
	for _, c := range []struct {
		name  string
		opts  []onceq.Option
		words []string // both options, and what to use instead
	}{
		{"window not shorter than TTL", []onceq.Option{onceq.Unique{Window: minute, TTL: minute}},
			[]string{"Unique.Window", "Unique.TTL", "UntilWindowEnds"}},
		{"UntilWindowEnds without Window", []onceq.Option{onceq.Unique{Until: onceq.UntilWindowEnds}},
			[]string{"Unique.Until", "Window"}},
		{"UntilWindowEnds with TTL",
			[]onceq.Option{onceq.Unique{Until: onceq.UntilWindowEnds, Window: second, TTL: minute}},
			[]string{"Unique.Until", "Unique.TTL", "leave TTL away"}},
		{"FromEnqueue without clocks", []onceq.Option{onceq.Unique{FromEnqueue: true}},
			[]string{"FromEnqueue", "Window", "TTL"}},
		{"Window below 1ms", []onceq.Option{onceq.Unique{Window: time.Microsecond}}, []string{"Unique.Window", "1ms"}},
		{"TTL below 1ms", []onceq.Option{onceq.Unique{TTL: time.Nanosecond}}, []string{"Unique.TTL", "1ms"}},
		{"negative Window", []onceq.Option{onceq.Unique{Window: -second}}, []string{"Unique.Window", "1ms"}},
		{"negative TTL", []onceq.Option{onceq.Unique{TTL: -second}}, []string{"Unique.TTL", "1ms"}},
		{"unknown Until", []onceq.Option{onceq.Unique{Until: 99}}, []string{"Unique.Until"}},
		{"unknown part", []onceq.Option{onceq.Unique{By: 128}}, []string{"Unique.By"}},
		{"ByKey without a key", []onceq.Option{onceq.Unique{By: onceq.ByKey}}, []string{"Unique.By", "UniqueKey"}},
		{"empty Fields", []onceq.Option{onceq.Unique{Fields: []string{}}}, []string{"Fields"}},
		{"Fields of nothing", []onceq.Option{onceq.Unique{By: onceq.ByKind, Fields: []string{"repo"}}},
			[]string{"Unique.Fields", "Unique.By", "ByArgs"}},
		{"Fields that are absent",
			[]onceq.Option{onceq.Unique{By: onceq.ByKind | onceq.ByMeta, Fields: []string{"tenant"}}},
			[]string{"meta"}},
		{"unknown field", []onceq.Option{onceq.Unique{Fields: []string{"repository"}}},
			[]string{"Unique.Fields", "repository", `"repo"`}},
		{"key and Fields on one level", []onceq.Option{onceq.UniqueKey("k"), onceq.Unique{Fields: []string{"repo"}}},
			[]string{"UniqueKey", "Unique.Fields"}},
		{"Fields and key on one level", []onceq.Option{onceq.Unique{Fields: []string{"repo"}}, onceq.UniqueKey("k")},
			[]string{"UniqueKey", "Unique.Fields"}},
		{"key and By on one level", []onceq.Option{onceq.UniqueKey("k"), onceq.Unique{By: onceq.ByKind}},
			[]string{"UniqueKey", "Unique.By"}},
		{"key scoped to args", []onceq.Option{onceq.UniqueKey("k", onceq.ByArgs)}, []string{"UniqueKey", "scope"}},
		{"key scoped to itself and more", []onceq.Option{onceq.UniqueKey("k", onceq.ByKey, onceq.ByKind)},
			[]string{"UniqueKey", "ByKey"}},
		{"blank key", []onceq.Option{onceq.UniqueKey(" \t")}, []string{"UniqueKey"}},
		{"huge key", []onceq.Option{onceq.UniqueKey(strings.Repeat("k", 1025))}, []string{"UniqueKey"}},
		{"key with NUL", []onceq.Option{onceq.UniqueKey("a\x00b")}, []string{"UniqueKey"}},
		{"key that is no text", []onceq.Option{onceq.UniqueKey("\xff")}, []string{"UniqueKey"}},
		{"replace without the kind", []onceq.Option{onceq.Unique{By: onceq.ByArgs},
			onceq.OnConflict(onceq.Replace{Args: true})}, []string{"OnConflict", "Unique.By", "ByKind"}},
		{"coalesce without the kind", []onceq.Option{onceq.Unique{By: onceq.ByQueue | onceq.ByArgs},
			onceq.OnConflict(onceq.Coalesce)}, []string{"OnConflict", "Unique.By", "ByKind"}},
		{"supersede by a literal key", []onceq.Option{onceq.UniqueKey("k", onceq.ByKey),
			onceq.OnConflict(onceq.Supersede)}, []string{"OnConflict", "UniqueKey", "ByKind"}},
		{"debounce by a queue's key", []onceq.Option{onceq.UniqueKey("k", onceq.ByQueue), onceq.Delay(second),
			debounce}, []string{"OnConflict", "UniqueKey", "ByKind"}},
		{"replace of nothing", []onceq.Option{unique, onceq.OnConflict(onceq.Replace{})}, []string{"Replace", "Skip"}},
		{"replace only running",
			[]onceq.Option{unique, onceq.OnConflict(onceq.Replace{Args: true, Only: []onceq.State{onceq.Running}})},
			[]string{"Replace.Only", "running"}},
		{"debounce without MaxWait", []onceq.Option{unique, onceq.Delay(second), onceq.OnConflict(onceq.Debounce{})},
			[]string{"Debounce.MaxWait"}},
		{"debounce without a delay", []onceq.Option{unique, debounce}, []string{"OnConflict", "Delay"}},
		{"debounce with an instant", []onceq.Option{unique, onceq.RunAt(time.Now().Add(minute)), debounce},
			[]string{"OnConflict", "RunAt", "Delay"}},
		{"debounce until finished", []onceq.Option{onceq.Unique{Until: onceq.UntilFinished}, onceq.Delay(second),
			debounce}, []string{"OnConflict", "Unique.Until", "Coalesce"}},
		{"debounce with a window", []onceq.Option{onceq.Unique{Window: second}, onceq.Delay(second), debounce},
			[]string{"OnConflict", "Unique.Window"}},
		{"coalesce until succeeded", []onceq.Option{onceq.Unique{Until: onceq.UntilSucceeded},
			onceq.OnConflict(onceq.Coalesce)}, []string{"OnConflict", "Unique.Until", "UntilFinished"}},
		{"supersede until started", []onceq.Option{onceq.Unique{Until: onceq.UntilStarted},
			onceq.OnConflict(onceq.Supersede)}, []string{"OnConflict", "Unique.Until", "UntilFinished"}},
		{"coalesce with a window", []onceq.Option{onceq.Unique{Window: minute}, onceq.OnConflict(onceq.Coalesce)},
			[]string{"OnConflict", "Unique.Window"}},
		{"supersede with a window", []onceq.Option{onceq.Unique{Window: minute}, onceq.OnConflict(onceq.Supersede)},
			[]string{"OnConflict", "Unique.Window"}},
		{"a policy with nothing to meet", []onceq.Option{onceq.OnConflict(onceq.Reject)},
			[]string{"OnConflict", "Unique", "ID"}},
		{"not unique after all", []onceq.Option{unique, onceq.NotUnique, onceq.OnConflict(onceq.Coalesce)},
			[]string{"OnConflict", "Unique"}},
		{"no policy", []onceq.Option{unique, onceq.OnConflict(nil)}, []string{"OnConflict"}},
		{"delay and instant", []onceq.Option{onceq.Delay(second), onceq.RunAt(time.Now())}, []string{"RunAt", "Delay"}},
		{"resend of something else", []onceq.Option{onceq.Resend(errors.New("x"))},
			[]string{"Resend", "UncertainError"}},
		{"no option", []onceq.Option{nil}, []string{"option", "nil"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := refused(t, nil, push{1, "x"}, c.opts...)
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error does not name %q: %v", word, err)
				}
			}
		})
	}
}

func TestARefusedCombinationSaysWhereEachOptionCameFrom(t *testing.T) {
	config := &onceq.Config{
		Defaults: []onceq.Option{onceq.Unique{Window: time.Hour}},
		Kinds:    map[string][]onceq.Option{"push": {onceq.Unique{TTL: time.Minute}}},
	}
	err := refused(t, config, push{})
	for _, place := range []string{"in Config.Defaults", "in Config.Kinds"} {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("the error does not say %q: %v", place, err)
		}
	}
}

func TestBoundsAreRefusedWithFieldAndRule(t *testing.T) {
	long := strings.Repeat("q", onceq.MaxNameSize+1)
	for _, c := range []struct {
		field string
		args  onceq.Args
		opts  []onceq.Option
	}{
		{"queue", push{}, []onceq.Option{onceq.Queue("")}},
		{"queue", push{}, []onceq.Option{onceq.Queue(long)}},
		{"queue", push{}, []onceq.Option{onceq.Queue("a\nb")}},
		{"queue", push{}, []onceq.Option{onceq.Queue("a\x00b")}},
		{"queue", push{}, []onceq.Option{onceq.Queue("\xff")}},
		{"queue", push{}, []onceq.Option{onceq.Queue(" a")}},
		{"kind", onceq.JSON("", []byte("{}")), nil},
		{"kind", onceq.JSON(long, []byte("{}")), nil},
		{"kind", onceq.JSON("a\tb", []byte("{}")), nil},
		{"args", nil, nil},
		{"args", (*push)(nil), nil},
		{"args", onceq.JSON("k", nil), nil},
		{"args", onceq.JSON("k", []byte(`{"a":1,"a":2}`)), nil},
		{"args", onceq.JSON("k", []byte(`{"a":1} x`)), nil},
		{"args", onceq.JSON("k", []byte(`"`+strings.Repeat("x", onceq.DefaultMaxArgs)+`"`)), nil},
		{"args", push{By: "\xff"}, nil},
		{"ID", push{}, []onceq.Option{onceq.ID("")}},
		{"ID", push{}, []onceq.Option{onceq.ID(" \n")}},
		{"ID", push{}, []onceq.Option{onceq.ID("a\x00")}},
		{"ID", push{}, []onceq.Option{onceq.ID(strings.Repeat("i", 256))}},
		{"priority", push{}, []onceq.Option{onceq.Priority(-1)}},
		{"priority", push{}, []onceq.Option{onceq.Priority(10)}},
		{"max attempts", push{}, []onceq.Option{onceq.MaxAttempts(0)}},
		{"delay", push{}, []onceq.Option{onceq.Delay(-1)}},
		{"delay", push{}, []onceq.Option{onceq.Delay(200 * 365 * 24 * time.Hour)}},
		{"run at", push{}, []onceq.Option{onceq.RunAt(time.Time{})}},
		{"timeout", push{}, []onceq.Option{onceq.Timeout(-1)}},
		{"timeout", push{}, []onceq.Option{onceq.Timeout(1)}},
		{"retention", push{}, []onceq.Option{onceq.Retention(-1)}},
		{"tag", push{}, []onceq.Option{onceq.Tags("a\x00")}},
		{"tags", push{}, []onceq.Option{onceq.Tags(make([]string, 33)...)}},
		{"meta", push{}, []onceq.Option{onceq.Meta(map[string]any{"f": func() {}})}},
		{"meta", push{}, []onceq.Option{onceq.Meta(map[string]any{"x": strings.Repeat("x", onceq.MaxMetaSize)})}},
	} {
		if err := refused(t, nil, c.args, c.opts...); err.Field != c.field {
			t.Errorf("field %q, want %q: %v", err.Field, c.field, err)
		}
	}
}

func TestAConfigWhoseValuesAreOutOfBoundsIsRefused(t *testing.T) {
	for field, config := range map[string]onceq.Config{
		"ID":             {Defaults: []onceq.Option{onceq.ID("x")}},
		"priority":       {Kinds: map[string][]onceq.Option{"k": {onceq.Priority(12)}}},
		"queue":          {Defaults: []onceq.Option{onceq.Queue("")}},
		"Config.Kinds":   {Kinds: map[string][]onceq.Option{"": nil}},
		"Config.MaxArgs": {MaxArgs: onceq.MaxArgsSize + 1},
	} {
		_, err := onceq.NewClient(memstore.New(nil), &config)
		var inv *onceq.InvalidError
		if !errors.As(err, &inv) || inv.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestTheTextOfAReplacementCharacterIsNoBadUTF8(t *testing.T) {
	enqueued(t, nil, push{By: "\ufffd"})
}

// What is remembered of one type says nothing of another.
func TestAMemberOfOneTypeIsNoneOfAnother(t *testing.T) {
	client, err := onceq.NewClient(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 2 {
		_, err := client.Enqueue(t.Context(), mail{"ann"}, onceq.Unique{Fields: []string{"to"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Enqueue(t.Context(), &report{7}, onceq.Unique{Fields: []string{"to"}})
		if err == nil || !strings.Contains(err.Error(), `"to"`) || !strings.Contains(err.Error(), "is no member of") {
			t.Errorf("a member that the type has not: %v", err)
		}
	}
}

package terms

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestADurationMayHaveDaysAndWeeks(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour,
		"2w": 14 * day, "1w2d3ms": 9*day + 3*time.Millisecond, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "5x", "-5s", "d", "1.5d", "-1d", "1d-2h", "99999999999d", "1d1w",
		"106751d23h59m", "999999w", "5 s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestATimeWithoutAZoneIsLocal(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-12-24T18:00:00+01:00": time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC),
		"2026-12-24 18:00":          time.Date(2026, 12, 24, 18, 0, 0, 0, time.Local),
		"2026-12-24T18:00:05":       time.Date(2026, 12, 24, 18, 0, 5, 0, time.Local),
		"2026-12-24":                time.Date(2026, 12, 24, 0, 0, 0, 0, time.Local),
	} {
		if got, err := ParseTime(text); !got.Equal(want) || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

// Twice a year a local time does not exist, or is there twice.
func TestALocalTimeThatDoesNotExistIsRefused(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	havana, err := time.LoadLocation("America/Havana") // its clocks change at midnight
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		zone *time.Location
		text string
		want string // in UTC; "" = refused
	}{
		{newYork, "2027-03-14 01:59:59", "2027-03-14T06:59:59Z"},
		{newYork, "2027-03-14 02:00", ""},
		{newYork, "2027-03-14 02:30", ""},
		{newYork, "2027-03-14T02:59:59", ""},
		{newYork, "2027-03-14 03:00", "2027-03-14T07:00:00Z"},
		{newYork, "2027-11-07 00:59", "2027-11-07T04:59:00Z"},
		{newYork, "2027-11-07 01:30", "2027-11-07T05:30:00Z"}, // the first of the two
		{newYork, "2027-11-07 02:00", "2027-11-07T07:00:00Z"},
		{newYork, "2027-03-14T02:30:00-05:00", "2027-03-14T07:30:00Z"},
		{havana, "2026-03-08", ""},
		{havana, "2026-03-09", "2026-03-09T04:00:00Z"},
		{time.UTC, "2027-03-14 02:30", "2027-03-14T02:30:00Z"},
	} {
		got, err := parseTimeIn(c.text, c.zone)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "does not exist in "+c.zone.String()) {
				t.Errorf("%s in %v: %v, %v", c.text, c.zone, got, err)
			}
			continue
		}
		if err != nil || got.UTC().Format(time.RFC3339) != c.want {
			t.Errorf("%s in %v: %v, %v; want %s", c.text, c.zone, got.UTC(), err, c.want)
		}
	}
}

func TestAPolicyIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]onceq.ConflictPolicy{
		"skip": onceq.Skip, "reject": onceq.Reject, "coalesce": onceq.Coalesce, "supersede": onceq.Supersede,
		"replace:args,run_at":        onceq.Replace{Args: true, RunAt: true},
		"replace:max-attempts, tags": onceq.Replace{MaxAttempts: true, Tags: true},
		"replace:args:scheduled,retryable": onceq.Replace{Args: true,
			Only: []onceq.State{onceq.Scheduled, onceq.Retryable}},
		"debounce:10s": onceq.Debounce{MaxWait: 10 * time.Second},
	} {
		if got, err := parsePolicy(text); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%q: %#v, %v; want %#v", text, got, err, want)
		}
	}
	for _, p := range []onceq.ConflictPolicy{onceq.Skip, onceq.Supersede,
		onceq.Replace{Args: true, Meta: true, Priority: true, RunAt: true, MaxAttempts: true, Tags: true},
		onceq.Debounce{MaxWait: 90 * time.Second}} {
		if got, err := parsePolicy(p.String()); !reflect.DeepEqual(got, p) || err != nil {
			t.Errorf("%s: %#v, %v", p, got, err)
		}
	}
	for _, text := range []string{"", "Skip", "skip:1", "replace", "replace:", "replace:kind", "replace:args,",
		"debounce", "debounce:x", "debounce:-1s"} {
		if got, err := parsePolicy(text); err == nil {
			t.Errorf("%q: %#v", text, got)
		}
	}
}

// Whatever a flag says, a member of a line says too, with the same effect.
func TestEachFlagIsAMemberOfALine(t *testing.T) {
	for _, c := range []struct{ flag, value, json string }{
		{"queue", "mail", `"mail"`}, {"id", "a,b", `"a,b"`}, {"unique", "true", `true`},
		{"by", "kind,args", `["kind","args"]`}, {"fields", `a,b\,c`, `["a","b,c"]`},
		{"meta-fields", "tenant", `["tenant"]`}, {"allow-blank", "true", `true`},
		{"secret-key", "true", `true`},
		{"key", "k", `"k"`}, {"key-scope", "kind,queue", `"kind,queue"`}, {"until", "deleted", `"deleted"`},
		{"window", "1d", `"1d"`}, {"ttl", "forever", `"forever"`},
		{"from-enqueue", "true", `true`}, {"on-conflict", "replace:args,run_at", `"replace:args,run_at"`},
		{"delay", "5s", `"5s"`},
		{"at", "2026-12-24T18:00:00Z", `"2026-12-24T18:00:00Z"`}, {"priority", "3", `3`}, {"max-attempts", "7", `7`},
		{"timeout", "1m", `"1m"`},
		{"meta", `{"a":{"b":[1]}}`, `{"a":{"b":[1]}}`}, {"tags", "x,y", `["x","y"]`}, {"retention", "0", `"0"`},
		{"retention-failed", "7d", `"7d"`},
		{"backoff", "10s,1h,3", `"10s,1h,3"`},
	} {
		var flags, line Terms
		for _, s := range flags.All() {
			if s.Name == c.flag {
				if err := s.Value.Set(c.value); err != nil {
					t.Errorf("--%s %s: %v", c.flag, c.value, err)
				}
			}
		}
		member := strings.ReplaceAll(c.flag, "-", "_")
		others := map[string]string{"key": "unique_key", "key-scope": "unique_scope", "at": "run_at"}
		if other, ok := others[c.flag]; ok {
			if known, _ := line.setMember(member, []byte(c.json)); known {
				t.Errorf("%s: it is %s in a line", member, other)
			}
			member = other
		}
		if known, err := line.setMember(member, []byte(c.json)); !known || err != nil {
			t.Errorf("%s: %s: %v, %v", c.flag, c.json, known, err)
		}
		if !reflect.DeepEqual(flags, line) || reflect.DeepEqual(flags, Terms{}) {
			t.Errorf("%s: %+v as a flag, %+v in a line", c.flag, flags, line)
		}
	}
	var all Terms
	if n := len(all.All()); n != 25 {
		t.Errorf("%d settings, and 25 are tested", n)
	}
}

func TestWhatIsSaidWronglyInALineIsRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"queue": `5`, "unique": `"true"`, "priority": `"3"`, "meta": `[]`, "tags": `[1]`, "fields": `{}`, "delay": `5`,
		"until": `"done"`, "by": `[]`, "run_at": `null`, "delay_ms": `"5"`, "window_ms": `1.5`, "ttl_ms": `-1`,
		"priority_ms": `1`, "max_attempts": `1.5`, "from_enqueue": `null`,
	} {
		var line Terms
		known, err := line.setMember(name, []byte(raw))
		if known == (name == "priority_ms") || known && err == nil {
			t.Errorf("%s: %s: %v, %v", name, raw, known, err)
		}
	}
	var line Terms
	if known, _ := line.setMember("frobnicate", []byte(`1`)); known {
		t.Error("frobnicate is known")
	}
}

func TestALengthOfTimeIsATextOrANumberOfMilliseconds(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{`{"kind":"a","delay":"90s"}`, ""}, {`{"kind":"a","delay_ms":90000}`, ""},
		{`{"kind":"a","retention_ms":0,"timeout_ms":5,"unique":true,"window_ms":7,"ttl_ms":8}`, ""},
		{`{"kind":"a","delay":"90s","delay_ms":90000}`,
			`delay_ms "90000" is said twice: keep the text, or the number with _ms`},
		{`{"kind":"a","delay_ms":"90s"}`, `delay_ms "90s" must be a whole number of milliseconds`},
		{`{"kind":"a","delay_ms":9223372036854775807}`, `delay_ms "9223372036854775807" must be a length of time`},
		{`{"kind":"a","delay":90}`,
			`delay "90" must be a text such as "90s"; a number of milliseconds has _ms behind the name`},
		{`{"kind":"a","key":"k"}`, `key is not known: did you mean "unique_key"?`},
		{`{"kind":"a","at":"2026-12-24"}`, `at is not known: did you mean "run_at"?`},
		{`{"kind":"a","on-conflict":"skip"}`, `on-conflict is not known: did you mean "on_conflict"?`},
		{`{"kind":"a","args_base64":"AP8="}`, ""}, {`{"kind":"a","args_base64":""}`, ""},
		{`{"kind":"a","args_base64":"?"}`, `args_base64 "?" must be base64`},
		{`{"kind":"a","args_base64":"","args":1}`, `args_base64 and args are both there: keep one`},
	} {
		_, err := Source{"the line", "say --kind"}.ParseItem([]byte(c.line))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.HasPrefix(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.line, err)
		}
	}
}

func TestListsAreSplitAtCommas(t *testing.T) {
	for text, want := range map[string][]string{"": {}, "a": {"a"}, "a,b": {"a", "b"}, `a\,b,c`: {"a,b", "c"},
		",": {"", ""}, `a\b`: {`a\b`}} {
		if got := Split(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

package fingerprint

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"
)

// job is the default uniqueness of a job with these JSON args.
func job(args string) Input {
	return Input{Kind: "reindex", Queue: "default", By: ByKind | ByQueue | ByArgs, Args: []byte(args), JSON: true}
}

func (in Input) with(change func(*Input)) Input {
	change(&in)
	return in
}

func mustSum(t testing.TB, in Input) Result {
	t.Helper()
	res, err := Sum(in)
	if err != nil {
		t.Fatalf("Sum(%s): %v", show(in), err)
	}
	checkText(t, res.Text)
	return res
}

func checkText(t testing.TB, text string) {
	t.Helper()
	if len(text) > 1024 || !utf8.ValidString(text) {
		t.Fatalf("text of %d bytes, valid UTF-8 %t: %q", len(text), utf8.ValidString(text), text)
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			t.Fatalf("text holds %U raw: %q", c, text)
		}
	}
}

// refused asserts that Sum and Preimage refuse in, and returns the error.
func refused(t testing.TB, in Input) *Error {
	t.Helper()
	_, err := Sum(in)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Sum(%s) = %v, want an *Error", show(in), err)
	}
	if pre, err2 := Preimage(nil, in); pre != nil || err2 == nil || err2.Error() != err.Error() {
		t.Fatalf("Preimage says %x, %v and Sum %v", pre, err2, err)
	}
	checkError(t, e)
	return e
}

func checkError(t testing.TB, e *Error) {
	t.Helper()
	if e.Field == "" || e.Rule == "" || e.Value == "" || len(e.Value) > 100 || !utf8.ValidString(e.Value) {
		t.Fatalf("malformed error: %+q", *e)
	}
	for _, c := range e.Error() {
		if !unicode.IsPrint(c) {
			t.Fatalf("error holds %U raw: %q", c, e.Error())
		}
	}
}

// allDiffer asserts that no two inputs share a key.
func allDiffer(t *testing.T, inputs []Input) {
	t.Helper()
	seen := map[[32]byte]Input{}
	for _, in := range inputs {
		res := mustSum(t, in)
		if other, ok := seen[res.Key]; ok {
			t.Errorf("same key:\n%s\n%s", show(other), show(in))
		}
		seen[res.Key] = in
	}
}

// allSame asserts that all inputs have the same key and text.
func allSame(t *testing.T, inputs []Input) {
	t.Helper()
	first := mustSum(t, inputs[0])
	for _, in := range inputs[1:] {
		if res := mustSum(t, in); res.Key != first.Key || res.Text != first.Text {
			t.Errorf("not the same:\n%s %s\n%s %s", show(inputs[0]), first.Text, show(in), res.Text)
		}
	}
}

func jobs(args ...string) (inputs []Input) {
	for _, a := range args {
		inputs = append(inputs, job(a))
	}
	return inputs
}

func fields(args string, names ...string) Input {
	return job(args).with(func(in *Input) { in.Fields = names })
}

func TestMemberOrderAndWhiteSpaceDoNotMatter(t *testing.T) {
	t.Parallel()
	allSame(t, jobs(`{"a":1,"b":{"c":[1,2],"d":null}}`, ` { "b" : {"d":null,"c":[1 ,2]} ,`+"\n\t\r"+`"a" : 1 } `))
}

func TestAThousandRandomValuesKeepTheirKeyWhenShuffled(t *testing.T) {
	t.Parallel()
	rng := rand.NewChaCha8([32]byte{1})
	for range 1000 {
		data := make([]byte, 400)
		rng.Read(data)
		c := &choices{data}
		tree := c.tree(4)
		a, b := job(spell(tree, &choices{})), job(spell(tree, c))
		allSame(t, []Input{a, b})
	}
}

func TestNumbersCompareByExactDecimalValue(t *testing.T) {
	t.Parallel()
	nines := strings.Repeat("9", 40)
	for _, same := range [][]string{
		{"1", "1.0", "1e0", "10e-1", "0.1e1", "0.01E+2", "1.000e-0", "1e000000000000000000000000000"},
		{"0", "-0", "0.0", "0e999", "-0e-999", "0e999999999999999999999", "-0.000E+1"},
		{"1000", "1e3", "10e2", "0.001e6", "1000.000"},
		{"-1.5", "-15e-1", "-0.15e1", "-1.50"},
		{"0.005", "5e-3", "50e-4", "0.5e-2"},
		{"1e" + nines, "10e" + nines[1:] + "8", "0.1e1" + strings.Repeat("0", 40), "1.0e0000" + nines},
		{"1e-" + nines, "10e-1" + strings.Repeat("0", 40), "0.1e-" + nines[1:] + "8"},
		{"1e-100000000000000000", "0.1e-99999999999999999", "10e-100000000000000001"},
		{"12345678901234567890.5", "123456789012345678905e-1", "1234567890123456789.05e1"},
		{"1" + strings.Repeat("0", 5000), "1e5000", "0." + strings.Repeat("0", 100) + "1e5101"},
	} {
		allSame(t, jobs(same...))
	}
	allDiffer(t, jobs(
		"0", "1", "-1", "10", "0.1", "2", "12", "21", "1.2", "9007199254740993", "9007199254740992",
		"18446744073709551615", "18446744073709551616", "0.1000000000000000055511151231257827", "1e308",
		"1e309", "1e310",
		"1e"+nines, "1e-"+nines, "1e"+nines+"9", "-1e"+nines, "1e99999999999999999", "1e100000000000000000",
		"1e100000000000000001",
	))
}

func TestExponentArithmeticMatchesBigIntegers(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		exponent := ""
		for range 15 + rng.IntN(10) {
			exponent += string("0019999"[rng.IntN(7)])
		}
		digits := strings.TrimLeft(exponent, "0")
		shift := rng.Int64N(2*1e5) - 1e5
		negative := rng.IntN(2) == 0
		want := bigSum(negative, exponent, shift)
		if got := string(appendSum(nil, negative, []byte(digits), shift)); got != want {
			t.Fatalf("%t %s + %d = %s, want %s", negative, exponent, shift, got, want)
		}
	}
}

func TestTypesThatLookAlikeDiffer(t *testing.T) {
	t.Parallel()
	allDiffer(t, jobs(`1`, `"1"`, `true`, `"true"`, `false`, `null`, `"null"`, `""`, `0`, `"0"`, `[]`, `{}`, `[[]]`,
		`[{}]`, `[null]`, `[1]`, `["1"]`, `[true]`, `{"":null}`, `{"":""}`))
	allDiffer(t, jobs(`{}`, `{"a":null}`, `{"a":""}`, `{"a":0}`, `{"a":[]}`, `{"a":{}}`, `{"a":false}`, `{"b":null}`))
}

func TestArraysCompareAsLists(t *testing.T) {
	t.Parallel()
	allDiffer(t, jobs(`[1,2]`, `[2,1]`, `[1,1,2]`, `[1,2,2]`, `[[1],2]`, `[[1,2]]`, `[1,[2]]`, `[12]`, `["1","2"]`,
		`["1,2"]`, `[1,2,null]`))
	allDiffer(t, jobs(`{"u":{"id":1}}`, `{"u":{"id":1,"x":2}}`, `{"u":[{"id":1}]}`))
}

func TestStringsCompareByCodePointsAndAreNotNormalised(t *testing.T) {
	t.Parallel()
	allSame(t, jobs(`"A"`, `"\u0041"`))
	allSame(t, jobs(`"a/b\n"`, `"a\/b\u000a"`, `"\u0061\u002Fb\u000A"`))
	allSame(t, jobs(`"😀"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`))
	allSame(t, jobs(`{"A":1,"z":2}`, `{"z":2,"\u0041":1}`))
	allDiffer(t, jobs(`"\u00e9"`, `"e\u0301"`, `"E\u0301"`, `"\u0000"`, `""`, `"\\u0000"`, `"\ufffd"`,
		`" "`, `"\u00a0"`))
}

func TestNamesAreNotPaths(t *testing.T) {
	t.Parallel()
	allDiffer(t, jobs(
		`{"a":{"b":1}}`, `{"a.b":1}`, `{"a/b":1}`, `{"a|b":1}`, `{"@id":1}`, `{"@type":1}`, `{"*":1}`,
		`{"#":1}`, `{"":1}`,
		`{"a":1}`, `{"a\\b":1}`, `{"/a":1}`, `{"~":1}`, `{"\"":1}`, `{"user.id":1}`, `{"user.id":2}`, `{"é":1}`,
	))
	for _, name := range []string{"a.b", "a|b", "@id", "*", "#", "", "\"", "é", "~", "a/b", "-", "0", "~2"} {
		member := strconv.Quote(name)
		allSame(t, []Input{fields(`{`+member+`:1}`, name), fields(`{`+member+`:1,"other":2}`, name)})
		allDiffer(t, []Input{fields(`{`+member+`:1}`, name), fields(`{`+member+`:2}`, name)})
	}
}

func TestEachPartCountsOnlyIfItTakesPart(t *testing.T) {
	t.Parallel()
	base := Input{Kind: "k", Queue: "q", Args: []byte("1"), JSON: true, Meta: []byte(`{"m":1}`)}
	changes := map[Part]func(*Input){
		ByKind:  func(in *Input) { in.Kind = "k2" },
		ByQueue: func(in *Input) { in.Queue = "q2" },
		ByArgs:  func(in *Input) { in.Args = []byte("2") },
		ByMeta:  func(in *Input) { in.Meta = []byte(`{"m":2}`) },
	}
	var all []Input
	for by := ByKind; by <= allParts; by++ {
		in := base.with(func(in *Input) { in.By = by })
		all = append(all, in)
		for part, change := range changes {
			same := mustSum(t, in).Key == mustSum(t, in.with(change)).Key
			if same == (by&part != 0) {
				t.Errorf("by %d, part %d changed: same key %t", by, part, same)
			}
		}
	}
	allDiffer(t, all)
}

func TestNoInputImitatesAnotherWithSeparators(t *testing.T) {
	t.Parallel()
	part := func(kind, queue string) Input {
		return Input{Kind: kind, Queue: queue, By: ByKind | ByQueue, JSON: true, Args: []byte("{}")}
	}
	key := func(key string, by Part) Input {
		return Input{Kind: "a", Queue: "a", By: by, Custom: true, Key: key, JSON: true, Args: []byte("{}")}
	}
	allDiffer(t, []Input{
		part("a", "bc"), part("ab", "c"), part("abc", ""), part("", "abc"), part("a:b", "c"), part("a", "b:c"),
		part("a&args=", "q"), part("a", "q}:unique:x"), part("a\x00", "b"), part("a", "\x00b"), part("a queue=b", ""),
		part("a", "b queue="),
		job(`{"a":"b"}`), job(`{"a":"b\",\"c\":\"d"}`), job(`{"a":"b","c":"d"}`), job(`{"a\":\"b":""}`), job(`["a,b"]`),
		job(`["a","b"]`), job(`["a\",\"b"]`),
		key("a", 0), key("a", ByKind), key("a", ByQueue), key("a", ByKind|ByQueue), key("aa", 0), key("aa", ByKind),
		key("{}", ByKind), key("a a", 0), key(" a", 0), key("a ", 0),
	})
}

func TestBytesCompareAsBytesAndNeverEqualJSON(t *testing.T) {
	t.Parallel()
	raw := func(b string) Input { return job(b).with(func(in *Input) { in.JSON = false }) }
	allDiffer(t, []Input{raw("1"), raw("1.0"), raw(" 1"), raw(""), raw("\x00"), raw("\xff"), raw("\xfe"), raw("{}"),
		raw("{ }"), job("1"), job(`"1"`), job("{}")})
	allSame(t, []Input{raw(""), raw("").with(func(in *Input) { in.Args = nil })})
	refused(t, raw(`{"a":1}`).with(func(in *Input) { in.Fields = []string{"a"} }))
}

func TestAbsentMetaIsTheEmptyObject(t *testing.T) {
	t.Parallel()
	meta := func(m string) Input {
		return job("1").with(func(in *Input) { in.By, in.Meta = ByKind|ByMeta, []byte(m) })
	}
	allSame(t, []Input{meta(""), meta("{}"), meta(" { } "), meta("").with(func(in *Input) { in.Meta = nil })})
	allDiffer(t, []Input{meta(""), meta(`{"a":null}`), meta(`{"a":1}`)})
	for _, m := range []string{"null", "[]", `"x"`, "1", " ", "{", "{}x"} {
		if e := refused(t, meta(m)); e.Field != "meta" {
			t.Errorf("meta %q: %v", m, e)
		}
	}
	mustSum(t, meta("rubbish").with(func(in *Input) { in.By = ByKind }))
}

func TestFieldsNarrowArgs(t *testing.T) {
	t.Parallel()
	allSame(t, []Input{fields(`{"a":1,"b":2}`, "a"), fields(`{"a":1.0,"b":3}`, "/a"),
		fields(`{"a":1}`, "a", "/a", "a")})
	allSame(t, []Input{fields(`{"a":1,"b":2}`, "a", "b"), fields(`{"b":2,"a":1,"c":3}`, "/b", "a", "b")})
	allSame(t, []Input{fields(`{"a":{"b":[5,{"c":7}]}}`, "/a/b/1/c"),
		fields(`{"a":{"b":[6,{"c":7,"d":8}],"x":1}}`, "/a/b/1/c")})
	allSame(t, []Input{fields(`{"a/b":1,"~":2}`, "a/b", "~"), fields(`{"a/b":1,"~":2,"x":3}`, "/a~1b", "/~0")})
	allSame(t, []Input{fields(`{"~1":1}`, "~1"), fields(`{"~1":1,"/":2}`, "/~01")})
	allSame(t, []Input{fields(`{"":1}`, ""), fields(`{"":1,"a":2}`, "/")})
	allSame(t, []Input{fields(`{"":{"":1}}`, "//"), fields(`{"":{"":1,"a":2}}`, "//")})
	allSame(t, []Input{fields(`[1,2]`, "/1"), fields(`[9,2,3]`, "/1")})
	allDiffer(t, []Input{
		job(`{"a":1}`), fields(`{"a":1}`, "a"), fields(`{"a":1}`, "a", "b"), fields(`{"a":1}`, "a", "c"),
		fields(`{"a":2}`, "a"),
		fields(`{"a":1,"b":null}`, "a", "b"), fields(`{"a":1,"b":""}`, "a", "b"), fields(`{"a":1,"b":0}`, "a", "b"),
		fields(`{"a":1,"b":[]}`, "a", "b"), fields(`{"a":1,"b":{}}`, "a", "b"), fields(`{"b":1}`, "b"),
		fields(`{"b":1}`, "a", "b"),
		fields(`{"a":{"b":1}}`, "a"), fields(`{"a":{"b":1}}`, "/a/b"), fields(`{"a.b":1}`, "a.b"),
		fields(`{"a/b":1}`, "a/b"),
		fields(`["x"]`, "/0"), fields(`{"0":"x"}`, "/0", "/1"),
	})
}

func TestFieldsNarrowMetaOnlyWhereArgsTakeNoPart(t *testing.T) {
	t.Parallel()
	in := func(by Part, args, meta string) Input {
		return Input{By: by, Args: []byte(args), JSON: true, Meta: []byte(meta), Fields: []string{"a"}}
	}
	allSame(t, []Input{in(ByMeta, "1", `{"a":1,"b":2}`), in(ByMeta, "1", `{"a":1}`)})
	allDiffer(t, []Input{
		in(ByMeta, "1", `{"a":1}`), in(ByMeta, "1", `{"a":2}`), in(ByArgs, `{"a":1}`, ""),
		in(ByArgs|ByMeta, `{"a":1}`, `{"a":1}`), in(ByArgs|ByMeta, `{"a":1}`, `{"a":1,"b":2}`),
		in(ByArgs|ByMeta, `{"a":1}`, ``),
	})
	allSame(t, []Input{in(ByArgs|ByMeta, `{"a":1,"b":2}`, `{"a":1}`),
		in(ByArgs|ByMeta, `{"a":1,"b":2}`, `{ "a":1.0 }`)})
	mustSum(t, in(ByMeta, "raw", `{"a":1}`).with(func(in *Input) { in.JSON = false }))
	if e := refused(t, in(ByMeta, `{"a":1}`, ``)); e.Field != "Fields" || !strings.Contains(e.Rule, "meta") {
		t.Error(e)
	}
}

func TestMetaFieldsNarrowTheMetaBesideTheArgs(t *testing.T) {
	t.Parallel()
	in := func(args, meta string) Input {
		return Input{By: ByArgs | ByMeta, Args: []byte(args), JSON: true, Meta: []byte(meta), Fields: []string{"a"},
			MetaFields: []string{"t"}}
	}
	both := in(`{"a":1,"b":2}`, `{"t":"x","u":3}`)
	allSame(t, []Input{both, in(`{"a":1.0}`, `{"t":"x"}`), in(`{"a":1,"b":9}`, `{"u":9,"t":"x"}`)})
	allDiffer(t, []Input{
		both, in(`{"a":2}`, `{"t":"x"}`), in(`{"a":1}`, `{"t":"y"}`),
		both.with(func(in *Input) { in.MetaFields = nil }), both.with(func(in *Input) { in.Fields = nil }),
		both.with(func(in *Input) {
			in.Fields, in.MetaFields = in.MetaFields, in.Fields
			in.Args, in.Meta = in.Meta, in.Args
		}),
	})
	if text := mustSum(t, both).Text; text != `fields /a=1 meta fields /t="x"` {
		t.Error(text)
	}
	allSame(t, []Input{ // where args take no part, Fields and MetaFields say the same
		{By: ByMeta, Meta: []byte(`{"t":1,"u":2}`), Fields: []string{"t"}},
		{By: ByMeta, Meta: []byte(`{"t":1}`), MetaFields: []string{"/t"}},
	})
	for _, in := range []Input{
		both.with(func(in *Input) { in.By = ByArgs }), both.with(func(in *Input) { in.By = ByMeta }),
		both.with(func(in *Input) { in.MetaFields = []string{} }),
		both.with(func(in *Input) { in.MetaFields = []string{"nope"} }),
		both.with(func(in *Input) { in.MetaFields = []string{"/~"} }),
		both.with(func(in *Input) { in.Meta = nil }), {By: ByKind, Custom: true, Key: "k", MetaFields: []string{"t"}},
	} {
		if e := refused(t, in); e.Field != "MetaFields" {
			t.Errorf("%s: %v", show(in), e)
		}
	}
}

func TestFieldsThatAreAllNullOrBlankAreRefusedUnlessThatIsAllowed(t *testing.T) {
	t.Parallel()
	blank := func(in *Input) { in.AllowBlank = true }
	for _, in := range []Input{
		fields(`{"a":null}`, "a"), fields(`{"a":""}`, "a"), fields("{\"a\":\" \\t\u00a0\u2003\"}", "a"),
		fields(`{"a":null,"b":""}`, "a", "b"), fields(`{"a":null}`, "a", "b"),
		{By: ByMeta, Meta: []byte(`{"t":null}`), Fields: []string{"t"}},
		{By: ByArgs | ByMeta, JSON: true, Args: []byte("1"), Meta: []byte(`{"t":" "}`), MetaFields: []string{"t"}},
	} {
		if e := refused(t, in); !strings.HasSuffix(e.Field, "Fields") || !strings.Contains(e.Rule, "AllowBlank") {
			t.Errorf("%s: %v", show(in), e)
		}
		mustSum(t, in.with(blank))
	}
	allDiffer(t, []Input{fields(`{"a":null}`, "a").with(blank), fields(`{"a":""}`, "a").with(blank),
		fields(`{"a":" "}`, "a").with(blank)})
	for _, value := range []string{"0", "false", "[]", "{}", `"x"`, `[null]`, `{"":""}`} { // nothing, but said
		in := fields(`{"b":null,"a":`+value+`}`, "a", "b")
		allSame(t, []Input{in, in.with(blank)}) // it makes no other key
	}
	refused(t, fields(`{"a":1}`, "b").with(blank)) // absent is not blank
}

func TestFieldsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []Input{
		fields(`{"a":1}`, "b"), fields(`{"a":1}`, "b", "c"), fields(`{}`, "a"), fields(`{"a":{"b":1}}`, "/a/c"),
		fields(`{"a":1}`, "/a/b"),
		fields(`{"a":1}`, ""), fields(`{"a":1}`, "A"), fields(`{"a":"x"}`, "/a/0"),
		fields(`{"a":[1]}`, "/a/1"), fields(`{"a":[1]}`, "/a/-"), fields(`{"a":[1]}`, "/a/00"),
		fields(`{"a":[1]}`, "/a/+0"), fields(`{"a":[1]}`, "/a/"),
		fields(`{"a":[1]}`, "/a/-0"), fields(`{"a":[1]}`, "/a/0/0"), fields(`{"a":[1]}`, "/a/18446744073709551616"),
		fields(`{"a":[1]}`, "/a/999999999999999999"),
		fields(`{"a":1}`, "/a~2"), fields(`{"a":1}`, "/a~"), fields(`{"a":1}`, "a", "/~"),
		fields(`{"a":1}`, "a", "\xff"), fields(`{"a":1}`, "a", "/\xff"),
		fields(`{"a":1}`, []string{}...).with(func(in *Input) { in.Fields = []string{} }),
		fields(`{"a":1}`, "a").with(func(in *Input) { in.By = ByKind | ByQueue }),
		fields(`{"a":1}`, "a").with(func(in *Input) { in.By, in.Custom, in.Key = 0, true, "k" }),
	} {
		if e := refused(t, in); e.Field != "Fields" {
			t.Errorf("%s: %v", show(in), e)
		}
	}
	for _, args := range []string{`1`, `"a"`, `null`, `[1]`, `[]`} {
		if e := refused(t, fields(args, "a")); e.Field != "Fields" ||
			!strings.Contains(e.Rule, "args are not an object") {
			t.Errorf("%s: %v", args, e)
		}
	}
	if e := refused(t, fields(`{}`, "b", "/a")); e.Value != `["/a" "/b"]` {
		t.Error(e)
	}
}

func TestAKeyOfOnesOwnIsUsedVerbatimWithinItsScope(t *testing.T) {
	t.Parallel()
	own := func(key string, by Part) Input {
		return job(`{"a":1}`).with(func(in *Input) { in.Custom, in.Key, in.By = true, key, by })
	}
	allDiffer(t, []Input{own("a", ByKind), own(" a", ByKind), own("a ", ByKind), own("A", ByKind), own("a\n", ByKind),
		own("a", 0), own("a", ByQueue), own("a", ByKind|ByQueue)})
	a, b := mustSum(t, own("a", ByKind)), mustSum(t, own("a", ByKind).with(func(in *Input) {
		in.Args, in.Queue = []byte(`{"a":2}`), "other"
	}))
	if a.Key != b.Key || a.Text != b.Text || a.Digest == b.Digest {
		t.Error("the key of one's own must not depend on the args, and the digest must")
	}
	mustSum(t, own(strings.Repeat("x", 1024), 0))
	for _, key := range []string{"", " ", "\t\n\v\f\r \u0085\u00a0\u2003\u3000", strings.Repeat("x", 1025), "a\xff",
		"\xed\xa0\x80", "a\x00b", "\x00"} {
		if e := refused(t, own(key, ByKind)); e.Field != "key" {
			t.Errorf("%q: %v", key, e)
		}
	}
	for _, by := range []Part{ByArgs, ByMeta, ByKind | ByArgs, 16} {
		if e := refused(t, own("a", by)); e.Field != "By" {
			t.Errorf("by %d: %v", by, e)
		}
	}
}

func TestAScopeOfNothingIsRefused(t *testing.T) {
	t.Parallel()
	for _, by := range []Part{0, 16, 128, 255} {
		if e := refused(t, job("1").with(func(in *Input) { in.By = by })); e.Field != "By" {
			t.Errorf("by %d: %v", by, e)
		}
	}
}

func TestArgsAreCheckedEvenIfTheyTakeNoPart(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*Input){
		func(in *Input) { in.By = ByKind },
		func(in *Input) { in.By, in.Custom, in.Key = ByKind, true, "k" },
	} {
		if e := refused(t, job(`{"a":1,"a":1}`).with(change)); e.Field != "args" {
			t.Error(e)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, value string }{
		{``, `"" at byte 0`},
		{"  \n", `"" at byte 3`},
		{`{"a":1,"a":2}`, `"/a" at byte 7`},
		{`{"a":1,"\u0061":2}`, `"/a" at byte 7`},
		{`{"x":[0,{"b":1,"c":2,"b":3}]}`, `"/x/1/b" at byte 21`},
		{`{"a/b":{"~":nope}}`, `"/a~1b/~0" at byte 12`},
		{`{"a":[1,2,"\ud800"]}`, `"/a/2" at byte 11`},
		{`{"a":[[]], "b":01}`, `"/b" at byte 15`},
		{`{"a":1 "b":2}`, `"" at byte 7`},
		{`{"a":"` + "\xff" + `"}`, `"/a" at byte 6`},
		{`{"a":NaN}`, `"/a" at byte 5`},
		{`{"a":-Infinity}`, `"/a" at byte 5`},
		{`{} x`, `"" at byte 3`},
		{`{"a\n":x}`, `"/a\n" at byte 7`},
		{`[1,2,`, `"/2" at byte 5`},
		{strings.Repeat(`[`, 65), ""},
		{`{"` + strings.Repeat("long", 1000) + `":x}`, ""},
		{`{"` + strings.Repeat(`\u0001`, 1000) + `":x}`, ""},
		{`{"` + strings.Repeat("😀", 1000) + `":x}`, ""},
	} {
		e := refused(t, job(test.args))
		if e.Field != "args" || test.value != "" && e.Value != test.value {
			t.Errorf("%.100s: %v, want the place %s", test.args, e, test.value)
		}
	}
}

func TestErrorReadsAsASentence(t *testing.T) {
	t.Parallel()
	e := refused(t, job(`{"a":1,"a":2}`))
	want := `args "/a" at byte 7: this member occurs twice, and readers differ on which one counts; send it once`
	if e.Error() != want {
		t.Errorf("%s\nwant\n%s", e, want)
	}
}

func TestInputsWhoseLengthsWouldOverflowAreRefused(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("n", 1<<20)
	names := slices.Repeat([]string{name}, 256)
	if e := refused(t, fields(`{"a":1}`, names...)); e.Field != "args" || !strings.Contains(e.Rule, "256 MiB") {
		t.Error(e)
	}
}

func TestTextIsForPeople(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   Input
		want string
	}{
		{job(`{"repo":42}`), `kind=reindex queue=default args={"repo":42}`},
		{job(`{"b":[1,true,null],"a":"x\ty"}`), `kind=reindex queue=default args={"a":"x\ty","b":[1,true,null]}`},
		{fields(`{"repo":42}`, "repo", "shard"), `kind=reindex queue=default fields /repo=42 /shard=absent`},
		{fields(`{"a b":{}}`, "a b"), `kind=reindex queue=default fields "/a b"={}`},
		{Input{Kind: "welcome", By: ByKind, Custom: true, Key: "welcome:42"}, `kind=welcome key="welcome:42"`},
		{Input{Custom: true, Key: "a\u202e\u0000b"[:4] + "b\u0007"}, `key="a\u202eb\u0007"`},
		{Input{Kind: "k k", Queue: "", By: ByKind | ByQueue}, `kind="k k" queue=""`},
		{Input{Kind: "k", By: ByKind | ByArgs, Args: []byte("\x08\x96hi\"")}, `kind=k args=bytes(5)"\b\x96hi\""`},
		{Input{By: ByArgs, Args: []byte(strings.Repeat("x", 65))}, `args=bytes(65)"` + strings.Repeat("x", 64) + `"…`},
		{Input{By: ByMeta}, `meta={}`},
		{Input{By: ByMeta, Meta: []byte(`{"t":1}`), Fields: []string{"t"}}, `meta fields /t=1`},
		{job(`"\u0080\u200b\ud83d\ude00\udbff\udfff\u00a0\u007f"`),
			`kind=reindex queue=default args="\u0080\u200b😀\udbff\udfff\u00a0\u007f"`},
		{Input{By: ByArgs, JSON: true, Args: []byte(`[-0,1e3,-1.50,12e-3,1e20,1e21,5e-20,5e-21,1e99999,123.456,0.1]`)},
			`args=[0,1000,-1.5,0.012,100000000000000000000,1e21,0.00000000000000000005,` +
				`0.000000000000000000005,1e99999,123.456,0.1]`},
	} {
		if !test.in.JSON && test.in.Args == nil {
			test.in.Args, test.in.JSON = []byte("{}"), true
		}
		if got := mustSum(t, test.in).Text; got != test.want {
			t.Errorf("%s\nwant\n%s", got, test.want)
		}
	}
}

func TestTextIsCutWithAnEllipsis(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 2000)
	for _, in := range []Input{
		job(`"` + long + `"`),
		job(`["` + strings.Repeat(`a","`, 2000) + `"]`),
		job(strings.Repeat("1234567890", 500)),
		job("1e" + strings.Repeat("1234567890", 500)),
		job("0." + strings.Repeat("1234567890", 500)),
		job(`"` + strings.Repeat(`\u0001`, 2000) + `"`),
		job(`{"` + long + `":1}`),
		job("{}").with(func(in *Input) { in.Kind = long }),
		job("{}").with(func(in *Input) { in.Queue = strings.Repeat("q", 2000) }),
		job("{}").with(func(in *Input) { in.Kind = strings.Repeat("\xff", 2000) }),
		fields(`{"a":1}`, "a", long, long+"2"),
		fields(`{"a":1}`, append(strings.Split(strings.Repeat("absent,", 20)+long, ","), "a", long[2:], long[4:])...),
		job("{}").with(func(in *Input) { in.By, in.Custom, in.Key = ByKind, true, strings.Repeat("é", 512) }),
	} {
		text := mustSum(t, in).Text
		if !strings.HasSuffix(text, "…") || len(text) < 1000 {
			t.Errorf("text of %d bytes: %s", len(text), text)
		}
	}
	for n := 1000; n < 1040; n++ {
		in := Input{By: ByKind, Kind: strings.Repeat("k", n), Args: []byte("{}"), JSON: true}
		text := mustSum(t, in).Text
		if cut := strings.HasSuffix(text, "…"); cut != (n+len("kind=") > 1024) {
			t.Errorf("kind of %d bytes, cut %t", n, cut)
		}
	}
}

func TestDigestIsOfTheArgsAlone(t *testing.T) {
	t.Parallel()
	digest := func(args string, isJSON bool) [16]byte {
		d, err := Digest([]byte(args), isJSON)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := digest(`{"a":1,"b":2}`, true)
	for _, in := range []Input{
		job(`{"b":2.0,"a":1}`), fields(`{"a":1,"b":2}`, "a"),
		job(`{"a":1,"b":2}`).with(func(in *Input) { in.By = ByKind }),
		job(`{"a":1,"b":2}`).with(func(in *Input) { in.By, in.Custom, in.Key = 0, true, "x" }),
		job(`{"a":1,"b":2}`).with(func(in *Input) { in.By, in.Meta = ByMeta|ByArgs, []byte(`{"x":1}`) }),
	} {
		if got := mustSum(t, in).Digest; got != want {
			t.Errorf("%s: digest %x, want %x", show(in), got, want)
		}
	}
	if digest("1", true) == digest("1", false) || digest("1", false) == digest("1.0", false) ||
		digest("1", true) != digest("1.0", true) {
		t.Error("bytes compare as bytes and JSON by value")
	}
	if _, err := Digest([]byte(`{`), true); err == nil {
		t.Error("Digest took what is not JSON")
	}
}

func TestPreimageAppends(t *testing.T) {
	t.Parallel()
	plain, err := Preimage(nil, job("1"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Preimage([]byte("before"), job("1"))
	if err != nil || string(got) != "before"+string(plain) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestInputIsNotChanged(t *testing.T) {
	t.Parallel()
	in := fields(`{"b":1,"a":"\u0041"}`, "b", "/a", "b")
	args, names := slices.Clone(in.Args), slices.Clone(in.Fields)
	mustSum(t, in)
	if !slices.Equal(args, in.Args) || !slices.Equal(names, in.Fields) {
		t.Errorf("now %s", show(in))
	}
}

func TestManyAtOnceAgree(t *testing.T) {
	t.Parallel()
	inputs := []Input{job(`{"b":1,"a":[1,2,{"z":1,"y":2}]}`), fields(`{"a":1,"b":2}`, "b", "a"),
		job(`"` + strings.Repeat("x", 5000) + `"`)}
	var want []Result
	for _, in := range inputs {
		want = append(want, mustSum(t, in))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 300 {
				if got, err := Sum(inputs[i%3]); err != nil || got != want[i%3] {
					t.Errorf("%v, %v", got, err)
				}
				_ = Check([]byte(`{"a":[1,{"b":`)) // leaves open containers behind
			}
		})
	}
	wg.Wait()
}

func TestSumAllocatesAtMostFiveTimes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, in := range []Input{benchInput, benchFields} {
		if n := testing.AllocsPerRun(200, func() { _, _ = Sum(in) }); n > 5 {
			t.Errorf("%v allocations for %s", n, in.Args)
		}
	}
}

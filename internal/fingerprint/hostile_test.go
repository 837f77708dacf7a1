package fingerprint

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

type hostileInput struct {
	name, data string
	ok         bool
}

// hostile is the corpus: what an attacker, a broken encoder or a cut
// connection would send, and the odd things that are nevertheless JSON.
func hostile() (all []hostileInput) {
	add := func(ok bool, name string, data ...string) {
		for i, d := range data {
			all = append(all, hostileInput{fmt.Sprintf("%s/%d", name, i), d, ok})
		}
	}

	add(false, "nothing", "", " ", "\n", "\t\r\n ", "\x00", "\xef\xbb\xbf", "\xef\xbb\xbf{}", "\u00a0",
		"\u2028", "\v", "\f")
	add(false, "words", "nul", "nulll", "NULL", "Null", "tru", "True", "TRUE", "truee", "fals", "falsey", "undefined",
		"None", "yes", "nan", "NaN", "-NaN", "+NaN",
		"Infinity", "-Infinity", "+Infinity", "inf", "-inf", "Inf", "1.#INF", "[NaN]", `{"a":-Infinity}`, "n", "t", "f",
		"N", "I", "null\x00")
	add(false, "numbers", "-", "+", "+1", "--1", "01", "-01", "00", "-00", "000.1", ".5", "-.5", "1.", "-1.", "1.e1",
		"1e", "1E", "1e+", "1e-", "1.5e", "1e1.5", "1e1e1",
		"0x10", "0b1", "0o7", "1_000", "1,000", "1 000", "1f", "1d", "1n", "1L", "١", "１", "1e１", "2.", "0e", "0.e1",
		"-e1", "e1", "1..2", "1.2.3", "-0x1", "1e+-1", "∞", "½")
	add(true, "numbers that are", "0", "-0", "1", "-1", "0.0", "-0.0", "1e0", "1E+0", "1e-0", "1e00", "0e0",
		"0e99999999999999999999", "1e99999999999999999999", "-1e-99999999999999999999",
		"1"+strings.Repeat("0", 9999), "0."+strings.Repeat("0", 9999)+"1", strings.Repeat("9", 9999),
		"1e"+strings.Repeat("0", 9999), "1e"+strings.Repeat("9", 9999),
		"1.7976931348623157e309", "4.9e-325", "9223372036854775808", "-9223372036854775809", "1e9223372036854775807",
		"1e-9223372036854775809", "0.1e9223372036854775808")
	add(false, "trailing", "{}{}", "{} {}", "[] []", "1 2", "1,", "{},", "null null", "{}x", "{}\x00", "[]]", "{}}",
		`"a""b"`, `"a" "b"`, "1\x00", "{}//c", "{}/**/", "true,false", "{}\u00a0", "{}\ufeff", "1;")
	add(false, "comments", "//\n1", "/**/1", "#\n1", "[1,/*c*/2]", "{}#")
	add(false, "arrays", "[", "]", "[1", "[1,", "[,", "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]",
		`["a":1]`, "[}", "[1}", "[[]", "[]]", "[...]", "[1,2,...]", "(1)", "[\x00]", "[\v1]")
	add(false, "objects", "{", "}", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{,"a":1}`, `{"a"}`,
		`{"a",}`, `{"a" 1}`, `{"a"=1}`, `{"a"::1}`, `{"a":1 "b":2}`, `{"a":1;"b":2}`,
		`{a:1}`, `{'a':1}`, `{1:1}`, `{null:1}`, `{[]:1}`, `{{}:1}`, `{"a":1]`, `{]`, `{"a":}`, `{:1}`, `{"a":,}`,
		"{`a`:1}", `{"a":1,,"b":2}`, `{"a":1:2}`, `{"a""b":1}`)
	add(true, "objects that are", "{}", " { } ", "{\n}", `{"":{}}`, `{"a":{},"b":{}}`, `{"__proto__":{}}`,
		`{"a":{"a":{"a":1}}}`, "[]", "[ ]", "[[],[]]", `[{"a":1},{"a":1}]`, `{"a":1,"A":1}`, `{"é":1,"e\u0301":1}`)
	add(false, "duplicates", `{"a":1,"a":1}`, `{"a":1,"a":2}`, `{"a":1,"b":2,"a":3}`, `{"":1,"":2}`,
		`{"a":1,"\u0061":1}`, `{"\u0061":1,"\u0061":1}`, `{"/":1,"\/":2}`, `{"é":1,"\u00e9":2}`,
		`{"😀":1,"\ud83d\ude00":2}`, `{"\n":1,"\u000a":2}`, `[{"a":1,"a":1}]`, `{"x":{"a":1,"a":1}}`,
		`[[[{"x":[{"a":1,"b":{},"a":1}]}]]]`, `{"a":{"a":1},"a":{"a":1}}`, `{"a":1,"a":1,"a":1}`,
		`{"b":1,"a":1,"b":1,"a":1}`,
		`{"\u0000":1,"\u0000":2}`, `{"`+strings.Repeat("n", 5000)+`":1,"`+strings.Repeat("n", 5000)+`":2}`)
	add(false, "strings", `"`, `"a`, `"\"`, `"\`, `"\u`, `"\u0`, `"\u00`, `"\u004`, `"\u0041`, `'a'`, "`a`", `a`,
		`"a\"`, `"\u 041"`, `"\u+041"`, `"\u-041"`, `"\U0041"`, `"\u{41}"`, `"\x41"`, `"\u004g"`, `"\u00G1"`,
		`"\u004`+"\x00"+`"`, `"\u００41"`)
	for c := range 0x20 {
		add(false, "raw control character", `"`+string(rune(c))+`"`, `{"a`+string(rune(c))+`":1}`)
	}
	for c := byte(' '); c < 0x7f; c++ {
		if !strings.ContainsRune(`"\/bfnrtu`, rune(c)) {
			add(false, "unknown escape", `"\`+string(rune(c))+`"`)
		}
	}
	add(false, "surrogates", `"\ud800"`, `"\udbff"`, `"\udc00"`, `"\udfff"`, `"\uD800"`, `"\ud800a"`, `"\ud800\n"`,
		`"\ud800\u0041"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `"\udc00\udc00"`, `"\ud800\ud800\udc00"`,
		`"\ud800\udc00\udc00"`, `"\ud800 \udc00"`, `"\ud800\\udc00"`, `"\ud800\u"`, `"\ud800\u00"`, `"\ud800\udc0"`,
		`"\ud800\`, `{"\ud800":1}`, `{"\udfff":1,"\ud800":2}`, `["\udead"]`, `"a\ud83d"`, `"\ude00b"`,
		`"\ud83d\u0020\ude00"`)
	add(true, "surrogates that are", `"\ud800\udc00"`, `"\uDBFF\uDFFF"`, `"\ud83d\ude00\ud83d\ude00"`, `"\\ud800"`,
		`"\ud7ff\ue000"`, `"\uffff\ufffe\ufffd"`, `{"\ud83d\ude00":1}`)
	for _, bad := range []string{
		"\x80", "\xbf", "\xc0", "\xc1", "\xc2", "\xe0", "\xf0", "\xf5", "\xfe", "\xff", "\xc0\x80", "\xc1\xbf",
		"\xc2\x20", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf",
		"\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
		"\xed\xa0\xbd\xed\xb8\x80", "é\xa9", "\xa9é", "\xe9",
	} {
		add(false, "invalid UTF-8", `"`+bad+`"`, `{"a`+bad+`":1}`, bad, `"\u0041`+bad, `[`+bad+`]`)
	}
	add(true, "odd strings", `""`, `"\u0000"`, `"\u001f"`, "\"\x7f\"", "\"\u0080\"", "\"\u2028\u2029\"", "\"\ufeff\"",
		`"\"\\\/\b\f\n\r\t"`, "\"\U0010ffff\"", "\"\ufffd\"", `"`+strings.Repeat(`\u0000`, 999)+`"`)
	for _, n := range []int{1, 2, 63, 64} {
		add(true, "deep enough", nest("[", "1", "]", n), nest(`{"a":`, "1", "}", n), nest("[", "", "]", n),
			nest("[[],", "{}", "]", n-1))
	}
	for _, n := range []int{65, 66, 128, 1000, 10001, 100000} {
		add(false, "too deep", nest("[", "1", "]", n), nest(`{"a":`, "1", "}", n), nest("[", "", "", n),
			nest(`{"a":`, "", "", n), nest(`[{"a":`, "1", "}]", n))
	}
	whole := `{"a":[1,-2.5e+10,"x\u0041\ud83d\ude00é"],"b":{"c":null,"d":true}}`
	add(true, "cut short", whole)
	for n := range len(whole) {
		add(false, "cut short", whole[:n])
	}
	return all
}

func nest(open, inner, end string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

func TestHostileInputsAreTakenOrRefusedAsTheyShould(t *testing.T) {
	t.Parallel()
	corpus := hostile()
	if len(corpus) < 300 {
		t.Fatalf("only %d inputs", len(corpus))
	}
	for _, h := range corpus {
		if len(h.data) < 5000 { // encoding/json itself gives up on very deep nesting
			checkStrict(t, []byte(h.data))
		}
		if got := Check([]byte(h.data)) == nil; got != h.ok {
			t.Errorf("%s: taken %t, want %t: %.100q", h.name, got, h.ok, h.data)
			continue
		}
		if !h.ok {
			refused(t, job(h.data))
			if _, err := Digest([]byte(h.data), true); err == nil {
				t.Errorf("%s: Digest took it", h.name)
			}
			continue
		}
		if again := mustSum(t, job(" "+h.data+"\n")); again != mustSum(t, job(h.data)) {
			t.Errorf("%s: white space changed the key", h.name)
		}
	}
}

// huge are documents of a quarter MiB, each made to be slow in some way.
func huge() map[string]string {
	const size = 256 << 10
	fill := func(before, unit, after string) string {
		return before + strings.Repeat(unit, (size-len(before)-len(after))/len(unit)) + after
	}
	members := func(name func(i int) string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%s":0`, name(i))
		}
		return "{" + b.String()[1:] + "}"
	}
	inner := members(func(i int) string { return fmt.Sprintf("%x", 1<<20-i) }, 20000)
	return map[string]string{
		"members in reverse": members(func(i int) string { return fmt.Sprintf("%x", 1<<20-i) }, 25000),
		"members in disorder": members(func(i int) string {
			return fmt.Sprintf("%x", uint32(i)*2654435761)
		}, 20000),
		"members with a long start": members(func(i int) string {
			return strings.Repeat("n", 1000) + fmt.Sprint(1000-i)
		}, 250),
		"one duplicate at the end": strings.TrimSuffix(inner, "}") + `,"zz":0,"zz":0}`,
		"disorder at every depth":  nest(`{"z":0,"a":`, inner, "}", 63),
		"many small objects":       fill("[0", `,{"b":0,"a":0}`, "]"),
		"long digits":              fill("", "7", ""),
		"long zeros":               fill("1", "0", "e-1"),
		"long zeros after point":   fill("0.", "0", "1"),
		"long exponent":            fill("1.5e", "9", ""),
		"long negative exponent":   fill("10e-1", "0", ""),
		"many long exponents":      fill("[0", ",10e999999999999999999999999", "]"),
		"escapes":                  fill(`"`, `\u0041`, `"`),
		"escaped pairs":            fill(`"`, `\ud83d\ude00`, `"`),
		"escapes in a name":        fill(`{"`, `\u007e`, `":0}`),
		"invalid at the end":       fill(`"`, "é", "\xff\""),
		"never ends":               fill(`"`, "x", ""),
		"opens only":               fill("", "[", ""),
		"white space":              fill("", " ", "1"),
		"elements":                 fill("[0", ",1", "]"),
		"empty arrays":             fill("[0", ",[]", "]"),
		"wide at the bottom":       nest("[", fill("[0", ",[1]", "]"), "]", 62),
	}
}

func TestHugeHostileInputsCostLittle(t *testing.T) {
	for name, data := range huge() {
		// Anything quadratic takes minutes; the limit leaves room for a
		// busy machine.
		start := time.Now()
		_, _ = Sum(job(data))
		_, _ = Sum(fields(data, "zz", "/a/a/a/b", "/999999", "/0/0/0"))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func BenchmarkHugeHostile(b *testing.B) {
	for name, data := range huge() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = Sum(job(data))
			}
		})
	}
}

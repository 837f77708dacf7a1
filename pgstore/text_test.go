package pgstore

import (
	"encoding/json"
	"testing"

	"github.com/onceq/onceq"
)

func TestAReadableKeyComesBackAsItWas(t *testing.T) {
	for _, c := range []struct{ text, args, short string }{
		{`kind=mail queue=default args={"a":1,"b":"x"}`, `{"b":"x","a":1}`, "\x01 \x03 args=\x02"},
		{`kind=mail queue=default args={"a":1,"b":{"c":[{"d":1,"e":2}],"f":"}\\\",{"}}`,
			`{"b":{"f":"}\\\",{","c":[{"e":2,"d":1}]},"a":1}`, "\x01 \x03 args=\x02"},
		{`kind=mail args=[1,{"a":2,"b":[]},"x"]`, `[1,{"b":[],"a":2},"x"]`, "\x01 args=\x02"},
		{`queue=default args={}`, `{}`, "\x03 args=\x02"},
		{`args=12`, `12`, "args=\x02"},
		{`kind=mail queue=default args={"a":1}`, `{"a":1.0}`, "\x01 \x03 args={\"a\":1}"},
		{`kind=mail queue=default args={"a":1} meta={"m":1}`, `{"a":1}`, "\x01 \x03 args={\"a\":1} meta={\"m\":1}"},
		{`kind=mail queue=default fields a=1`, `{"a":1}`, "\x01 \x03 fields a=1"},
		{`kind=mail key="k"`, `{}`, "\x01 key=\"k\""},
		{`kind=mail`, `{}`, "\x01"},
		{`kind=mailer queue=defaults`, `{}`, `kind=mailer queue=defaults`},
		{"kind=mail \x02", `{}`, "kind=mail \x02"},
		{``, `{`, ``}, {`args={`, `{`, "args=\x02"}, {`args={"`, `{"`, "args=\x02"}, {`args=[`, `[`, "args=\x02"},
		{`args={"a":`, `{"a":`, "args=\x02"},
	} {
		row := &onceq.NewRow{Kind: "mail", Queue: "default", Args: []byte(c.args), Encoding: onceq.EncodingJSON,
			Claim: &onceq.Claim{Text: c.text}}
		short := shortText(row)
		if short != c.short {
			t.Errorf("%q is kept as %q, want %q", c.text, short, c.short)
		}
		if short == c.text {
			continue // what is whole already is read as it is, but for its marks
		}
		if long := longText(short, &onceq.JobRow{Kind: "mail", Queue: "default",
			Args: []byte(c.args)}); long != c.text {
			t.Errorf("%q is kept as %q and comes back as %q", c.text, short, long)
		}
	}
}

func FuzzInOrder(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[{"d":"}","c":null}]}`, `{"a":{`, `[[`, `"\\`, `{"a":1,}`, `{"a"`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendInOrder(nil, []byte(s)))
		if !json.Valid([]byte(s)) {
			return // it ends, and that is enough
		}
		if len(got) != len(s) || !json.Valid([]byte(got)) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

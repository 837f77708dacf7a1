package fingerprint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the results of testdata/vectors.json anew; its inputs are kept by hand")

const vectorsFile = "testdata/vectors.json"

type vectors struct {
	About   []string  `json:"about"`
	Vectors []*vector `json:"vectors"`
	Refused []*vector `json:"refused"`
}

type vector struct {
	Name     string      `json:"name"`
	Input    vectorInput `json:"input"`
	SameAs   string      `json:"same_as,omitempty"`
	Preimage string      `json:"preimage,omitempty"`
	Key      string      `json:"key,omitempty"`
	Digest   string      `json:"digest,omitempty"`
	Text     string      `json:"text,omitempty"`
	Field    string      `json:"field,omitempty"`
}

type vectorInput struct {
	Kind    string   `json:"kind"`
	Queue   string   `json:"queue"`
	By      []string `json:"by"`
	JSON    bool     `json:"json"`
	Args    string   `json:"args,omitempty"`
	ArgsHex string   `json:"args_hex,omitempty"`
	Meta    string   `json:"meta,omitempty"`
	Fields  []string `json:"fields,omitzero"`

	MetaFields []string `json:"meta_fields,omitzero"`
	AllowBlank bool     `json:"allow_blank,omitempty"`

	Key *string `json:"key,omitempty"`
}

func (v *vector) input(t *testing.T) Input {
	in := Input{Kind: v.Input.Kind, Queue: v.Input.Queue, JSON: v.Input.JSON, Args: []byte(v.Input.Args),
		Meta: []byte(v.Input.Meta), Fields: v.Input.Fields, MetaFields: v.Input.MetaFields,
		AllowBlank: v.Input.AllowBlank}
	for _, by := range v.Input.By {
		part, ok := map[string]Part{"kind": ByKind, "queue": ByQueue, "args": ByArgs, "meta": ByMeta}[by]
		if !ok {
			t.Fatalf("%s: by %q", v.Name, by)
		}
		in.By |= part
	}
	if v.Input.ArgsHex != "" {
		args, err := hex.DecodeString(v.Input.ArgsHex)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		in.Args = args
	}
	if v.Input.Key != nil {
		in.Custom, in.Key = true, *v.Input.Key
	}
	return in
}

func TestPublishedVectorsHold(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var all vectors
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil || !utf8.Valid(data) {
		t.Fatalf("%s: %v", vectorsFile, err)
	}
	if len(all.Vectors) < 40 || len(all.Refused) < 20 {
		t.Fatalf("only %d vectors and %d refused", len(all.Vectors), len(all.Refused))
	}

	names, keys := map[string]*vector{}, map[string]string{}
	for _, v := range all.Vectors {
		in := v.input(t)
		res := mustSum(t, in)
		pre, err := Preimage(nil, in)
		if err != nil {
			t.Fatal(err)
		}
		got := *v
		got.Preimage, got.Key, got.Digest, got.Text = hex.EncodeToString(pre), hex.EncodeToString(res.Key[:]),
			hex.EncodeToString(res.Digest[:]), res.Text
		if *update {
			*v = got
		}
		if got.Preimage != v.Preimage || got.Key != v.Key || got.Digest != v.Digest || got.Text != v.Text {
			t.Errorf("%s: now\n%+v\nwas\n%+v", v.Name, got, *v)
		}

		if names[v.Name] != nil {
			t.Errorf("%s: a name used twice", v.Name)
		}
		names[v.Name] = v
		if v.SameAs == "" {
			if other, ok := keys[v.Key]; ok {
				t.Errorf("%s has the key of %s", v.Name, other)
			}
			keys[v.Key] = v.Name
		} else if other := names[v.SameAs]; other == nil || other.Key != v.Key || other.Preimage != v.Preimage ||
			other.Text != v.Text {
			t.Errorf("%s is not the same as %s", v.Name, v.SameAs)
		}
	}
	for _, v := range all.Refused {
		var e *Error
		if _, err := Sum(v.input(t)); !errors.As(err, &e) || e.Field != v.Field {
			t.Errorf("%s: %v, want %s refused", v.Name, err, v.Field)
		}
	}
	if !*update || t.Failed() {
		return
	}

	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

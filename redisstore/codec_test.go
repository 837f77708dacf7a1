package redisstore

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
)

var madeIDs = rapid.StringOfN(rapid.RuneFrom([]rune(onceq.IDAlphabet)), 26, 26, 26)
var anyIDs = rapid.OneOf(madeIDs, rapid.StringOfN(rapid.RuneFrom([]rune("0Zz\x01 ~é")), 1, 30, -1),
	rapid.StringOfN(rapid.RuneFrom([]rune(onceq.IDAlphabet)), 1, 30, -1))

func TestAPackedIDKeepsItsOrderAndComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := madeIDs.Draw(t, "a"), madeIDs.Draw(t, "b")
		if n := rapid.IntRange(0, 26).Draw(t, "common"); n > 0 {
			b = a[:n] + b[n:]
		}
		pa, pb := packID(a), packID(b)
		if len(pa) != packedSize || unpackID(pa) != a {
			t.Fatalf("%q is packed as %q and comes back as %q", a, pa, unpackID(pa))
		}
		if strings.Compare(a, b) != strings.Compare(pa, pb) {
			t.Fatalf("%q and %q are in another order packed", a, b)
		}
	})
}

func TestAnIDOfTheCallersOwnIsKeptAsItIs(t *testing.T) {
	for _, id := range []string{"a", "welcome:42", "01m80yv61g2gdms970q46j3s4a", "01M80YV61G2GDMS970Q46J3S4AX",
		strings.Repeat("é", 9) + "x"} {
		if packID(id) != id || unpackID(id) != id {
			t.Errorf("%q is kept as %q", id, packID(id))
		}
	}
}

func TestABoundAmongPackedIDsIsOfThatID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, m := anyIDs.Draw(t, "id"), madeIDs.Draw(t, "made")
		if n := rapid.IntRange(0, min(26, len(id))).Draw(t, "common"); made((id[:n] + m[n:])) {
			m = id[:n] + m[n:]
		}
		if (m < id) != (packID(m) < packBelow(id)) {
			t.Fatalf("%q < %q is %v, and not so among packed IDs", m, id, m < id)
		}
	})
}

func TestAToldTextComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune(`{"abc":1,é} `))))
		args := strings.Join(pieces.Draw(t, "args"), "")
		all := string(appendCommon(nil, "kind", "queue", []byte(args)))
		text := all
		if rapid.Bool().Draw(t, "other") {
			parts := pieces.Draw(t, "parts")
			cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
			text = all[cut:] + strings.Join(parts, all[:cut])
			text = text[:min(len(text), 1000)]
		}
		b, ok := compressText(nil, text, []byte(all))
		if !ok {
			return
		}
		if len(b) > len(text) && text != all {
			t.Fatalf("compressed to %d bytes, and it has %d", len(b), len(text))
		}
		if back, ok := expandText(string(b), []byte(all)); !ok || back != text {
			t.Fatalf("compressed to %q, it comes back as %q", text, back)
		}
	})
}

func TestRowsThatAreCutShortAreAnErrorAndNoPanic(t *testing.T) {
	key := onceq.Key{1}
	r := onceq.NewRow{ID: "a", Kind: "kind", Queue: "queue", Args: []byte(`{"a":1}`), Encoding: "json",
		Meta: []byte(`{"b":2}`), Tags: []string{"t"},
		MaxAttempts: 3, Claim: &onceq.Claim{Key: key, Text: "kind=kind args={\"a\":1}",
			Hold: onceq.Hold{Until: onceq.UntilFinished}}}
	content := appendProfile(nil, &r)
	profiles := func(string) (*profile, error) { return readProfile(string(content)) }
	rest, _ := appendRest(nil, &r, "REF1")
	row := string(append([]byte{headKey, 5 | headNow, 0, 0, 0, 0, 0, 9}, rest...))
	j, err := readJob("a", row, "", "", 10, profiles)
	if err != nil {
		t.Fatal(err)
	}
	if j.KeyText != r.Claim.Text || string(j.Args) != string(r.Args) || *j.Key != key ||
		!slices.Equal(j.Tags, r.Tags) || j.State != onceq.Available {
		t.Fatalf("read %+v", j)
	}
	for n := range len(row) - len(r.Args) {
		if _, err := readJob("a", row[:n], "", "", 10, profiles); err == nil {
			t.Errorf("%d bytes of a row read as a job", n)
		}
	}
	for n := range len(content) {
		if _, err := readProfile(string(content[:n])); err == nil {
			t.Errorf("%d bytes of a profile read as one", n)
		}
	}
}

func FuzzReadJob(f *testing.F) {
	f.Add("row", "head", "errors")
	f.Fuzz(func(t *testing.T, row, head, errs string) {
		_, _ = readJob("a", row, head, errs, 1, func(ref string) (*profile, error) {
			return readProfile(strings.Repeat("\x00", 40))
		})
		_, _ = heldKey(onceq.Key{}, row, nil)
	})
}

func TestPartitionsLieEvenlyOverTheSlots(t *testing.T) {
	first := partitions("onceq", 1)[0].keys
	for _, n := range []int{1, 2, 3, 7, 8, 24, 100} {
		parts := partitions("onceq", n)
		if !slices.Equal(parts[0].keys, first) {
			t.Errorf("of %d partitions the first is %v, not %v", n, parts[0].keys, first)
		}
		bands := make([]bool, n)
		for p, part := range parts {
			at := slot(tagOf(part.keys[0]))
			band := (at - slot(tagOf(first[0])) + slots) % slots * n / slots
			if bands[band] {
				t.Errorf("of %d partitions two lie in the same stretch of slots: %d", n, p)
			}
			bands[band] = true
			for _, k := range part.keys {
				if slot(tagOf(k)) != at {
					t.Errorf("%s is not in the slot of its partition", k)
				}
			}
		}
	}
	if slot("123456789") != 0x31C3%slots {
		t.Error("the hash of slots is not CRC16")
	}
}

func tagOf(key string) string {
	return key[strings.IndexByte(key, '{')+1 : strings.IndexByte(key, '}')]
}

// TestScriptsTouchTheirFourKeysOnly reads the scripts: a key whose name is
// made of data fails on a cluster after the first write.
func TestScriptsTouchTheirFourKeysOnly(t *testing.T) {
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, _ := luaFiles.ReadFile("lua/" + f.Name())
		for i, line := range strings.Split(string(b), "\n") {
			code, _, _ := strings.Cut(line, "--")
			if strings.Contains(code, "redis.") && !strings.HasPrefix(code, "local call, sub, byte, char") {
				t.Errorf("%s:%d: redis is called by another name than call: %s", f.Name(), i+1, line)
			}
			for rest := code; ; {
				at := strings.Index(rest, "call(")
				if at < 0 {
					break
				}
				before := rest[:at]
				rest = rest[at+len("call("):]
				if n := len(before); n > 0 && (before[n-1] == '_' || before[n-1] == 'p') {
					continue
				}
				command, after, _ := strings.Cut(rest, ",")
				key := strings.TrimSpace(after)
				key = key[:strings.IndexAny(key+",", ",)")]
				switch {
				case strings.HasPrefix(rest, "'TIME'"), command == "'PUBLISH'":
				case key == "jobs", key == "keys", key == "ix", key == "meta":
				case key == "notes" && strings.HasPrefix(f.Name(), "note"):
				// of pieces and hmget, which are given one of the four
				case command == "command", command == "'HMGET'" && key == "key":
				default:
					t.Errorf("%s:%d: touches %q: %s", f.Name(), i+1, key, line)
				}
			}
			if strings.Contains(code, "unpack(") && !strings.Contains(code, "unpk(") {
				// which has at most perScript rows, three members each
				if !strings.Contains(code, "PIECE") && f.Name() != "enqueue.lua" {
					t.Errorf("%s:%d: unpack without a bound: %s", f.Name(), i+1, line)
				}
			}
		}
	}
}

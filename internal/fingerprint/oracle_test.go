package fingerprint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The oracle says what is the same, slowly, with encoding/json and math/big and
// nothing of the package's own.

// decimal is a number in lowest terms: digits times ten to the exponent.
type decimal struct{ digits, exponent string }

var ten = big.NewInt(10)

func decimalOf(n json.Number) decimal {
	mantissa, power := string(n), "0"
	if i := strings.IndexAny(mantissa, "eE"); i >= 0 {
		mantissa, power = mantissa[:i], mantissa[i+1:]
	}
	exponent, ok := new(big.Int).SetString(power, 10)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits, ok2 := new(big.Int).SetString(whole+fraction, 10)
	if !ok || !ok2 {
		panic("not a number: " + n)
	}
	if digits.Sign() == 0 {
		return decimal{"0", "0"}
	}
	exponent.Sub(exponent, big.NewInt(int64(len(fraction))))
	for {
		quotient, rest := new(big.Int).QuoRem(digits, ten, new(big.Int))
		if rest.Sign() != 0 {
			return decimal{digits.String(), exponent.String()}
		}
		digits = quotient
		exponent.Add(exponent, big.NewInt(1))
	}
}

func bigSum(negative bool, digits string, shift int64) string {
	n, _ := new(big.Int).SetString(digits, 10)
	if negative {
		n.Neg(n)
	}
	return n.Add(n, big.NewInt(shift)).String()
}

func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		return decimalOf(v)
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = exact(v[name])
		}
	}
	return v
}

var (
	errOracle = errors.New("refused by the oracle")
	escapes   = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|[^u])`)
)

// oracleValue decodes strict JSON.
func oracleValue(b []byte) (any, error) {
	if !json.Valid(b) || !utf8.Valid(b) || oracleDepth(b) > 64 || oracleRepeats(b) || oracleSurrogates(b) {
		return nil, errOracle
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return exact(v), nil
}

func oracleDepth(b []byte) int {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	depth, deepest := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return deepest
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func oracleRepeats(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var value func() bool
	value = func() bool {
		repeats := false
		tok, _ := d.Token()
		switch tok {
		case json.Delim('['):
			for d.More() {
				repeats = value() || repeats
			}
			_, _ = d.Token()
		case json.Delim('{'):
			seen := map[json.Token]bool{}
			for d.More() {
				name, _ := d.Token()
				repeats = repeats || seen[name]
				seen[name] = true
				repeats = value() || repeats
			}
			_, _ = d.Token()
		}
		return repeats
	}
	return value()
}

// oracleSurrogates tells whether half a pair is left once all pairs are gone.
func oracleSurrogates(b []byte) bool {
	high := false
	end := 0
	for _, at := range escapes.FindAllIndex(b, -1) {
		e := strings.ToLower(string(b[at[0]:at[1]]))
		isHigh := len(e) == 6 && e >= `\ud800` && e <= `\udbff`
		isLow := len(e) == 6 && e >= `\udc00` && e <= `\udfff`
		if high && !(isLow && at[0] == end) || isLow && !high {
			return true
		}
		high, end = isHigh, at[1]
	}
	return high
}

// oracle describes in by all that makes it the same as another.
func oracle(in Input) (map[string]any, error) {
	same := map[string]any{"by": in.By, "custom": in.Custom}
	args := any(string(in.Args))
	if in.JSON {
		v, err := oracleValue(in.Args)
		if err != nil {
			return nil, err
		}
		args = v
	}
	if in.By&ByKind != 0 {
		same["kind"] = in.Kind
	}
	if in.By&ByQueue != 0 {
		same["queue"] = in.Queue
	}
	if in.Custom {
		if in.Fields != nil || in.MetaFields != nil || in.By > 3 || strings.TrimSpace(in.Key) == "" {
			return nil, errOracle
		}
		same["key"] = in.Key
		return same, nil
	}
	if in.By == 0 || in.Fields != nil && in.By < ByArgs || in.MetaFields != nil &&
		(in.By < ByMeta || in.Fields != nil && in.By&ByArgs == 0) {
		return nil, errOracle
	}
	if in.By&ByArgs != 0 {
		same["json"] = in.JSON
		same["args"] = args
		if in.Fields != nil {
			chosen, err := oracleFields(args, in.Fields, in.AllowBlank)
			if err != nil || !in.JSON {
				return nil, errOracle
			}
			same["args"] = chosen
		}
	}
	if in.By&ByMeta != 0 {
		var meta any = map[string]any{}
		if len(in.Meta) > 0 {
			v, err := oracleValue(in.Meta)
			if err != nil {
				return nil, err
			}
			meta = v
		}
		same["meta"] = meta
		names := in.MetaFields
		if in.Fields != nil && in.By&ByArgs == 0 {
			names = in.Fields
		}
		if names != nil {
			chosen, err := oracleFields(meta, names, in.AllowBlank)
			if err != nil {
				return nil, err
			}
			same["meta"] = chosen
		}
	}
	return same, nil
}

type chosenFields map[string]any

type absent struct{}

var badTilde = regexp.MustCompile(`~([^01]|$)`)

func oracleFields(doc any, names []string, allowBlank bool) (chosenFields, error) {
	chosen, found := chosenFields{}, false
	for _, name := range names {
		tokens := []string{name}
		if strings.HasPrefix(name, "/") {
			tokens = strings.Split(name, "/")[1:]
			for i, token := range tokens {
				if badTilde.MatchString(token) {
					return nil, errOracle
				}
				tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
			}
		}
		v, ok := oracleFind(doc, tokens)
		if !ok {
			v = absent{}
		} else if text, isText := v.(string); allowBlank || v != nil && !(isText && strings.TrimSpace(text) == "") {
			found = true
		}
		chosen[fmt.Sprintf("%q", tokens)] = v
	}
	if !found {
		return nil, errOracle
	}
	return chosen, nil
}

func oracleFind(doc any, tokens []string) (any, bool) {
	for _, token := range tokens {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || strconv.Itoa(i) != token || i < 0 || i >= len(v) {
				return nil, false
			}
			doc = v[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// checkAgainstOracle asserts that the keys of a and b are equal exactly if the
// oracle says that they are the same, and the digests if their args are.
func checkAgainstOracle(t testing.TB, a, b Input) {
	t.Helper()
	sameA, errA := oracle(a)
	sameB, errB := oracle(b)
	preA, gotA := Preimage(nil, a)
	preB, gotB := Preimage(nil, b)
	if (gotA == nil) != (errA == nil) || (gotB == nil) != (errB == nil) {
		t.Fatalf("the oracle says %v and %v, Preimage %v and %v:\n%s\n%s", errA, errB, gotA, gotB, show(a), show(b))
	}
	if errA != nil || errB != nil {
		return
	}
	want := reflect.DeepEqual(sameA, sameB)
	if got := bytes.Equal(preA, preB); got != want {
		t.Fatalf("same pre-image %t, the oracle says %t:\n%s\n%s\n%q\n%q", got, want, show(a), show(b), preA, preB)
	}
	resA, resB := mustSum(t, a), mustSum(t, b)
	if got := resA.Key == resB.Key; got != want || want && resA.Text != resB.Text {
		t.Fatalf("same key %t, the oracle says %t:\n%s\n%s\n%s\n%s", got, want, show(a), show(b), resA.Text, resB.Text)
	}
	argsA, _ := oracle(Input{By: ByArgs, Args: a.Args, JSON: a.JSON})
	argsB, _ := oracle(Input{By: ByArgs, Args: b.Args, JSON: b.JSON})
	if got, want := resA.Digest == resB.Digest, reflect.DeepEqual(argsA, argsB); got != want {
		t.Fatalf("same digest %t, the oracle says %t:\n%s\n%s", got, want, a.Args, b.Args)
	}
}

func show(in Input) string {
	return fmt.Sprintf("{kind %q queue %q by %d args %q json %t meta %q fields %q meta fields %q blank %t custom %t "+
		"key %q}",
		in.Kind, in.Queue, in.By, in.Args, in.JSON, in.Meta, in.Fields, in.MetaFields, in.AllowBlank, in.Custom, in.Key)
}

func TestOracleAgreesWithRationals(t *testing.T) {
	t.Parallel()
	rng := rand.NewChaCha8([32]byte{2})
	for range 5000 {
		data := make([]byte, 40)
		rng.Read(data)
		c := &choices{data}
		a, b := c.smallNumber(), c.smallNumber()
		ratA, okA := new(big.Rat).SetString(a)
		ratB, okB := new(big.Rat).SetString(b)
		if !okA || !okB {
			t.Fatalf("not rationals: %s %s", a, b)
		}
		want := ratA.Cmp(ratB) == 0
		if got := decimalOf(json.Number(a)) == decimalOf(json.Number(b)); got != want {
			t.Fatalf("%s = %s: %t, rationals say %t", a, b, got, want)
		}
		if got := mustSum(t, job(a)).Key == mustSum(t, job(b)).Key; got != want {
			t.Fatalf("%s = %s: %t, rationals say %t", a, b, got, want)
		}
	}
}

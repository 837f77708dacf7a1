package fingerprint

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// draft is an input whose JSON is not spelled yet.
type draft struct {
	in         Input
	args, meta any
}

func (c *choices) draft() draft {
	d := draft{args: c.object(3), meta: c.object(2)}
	if c.pick(8) == 1 {
		d.args = c.tree(3)
	}
	d.in = Input{
		Kind:  one(c, awkward...),
		Queue: one(c, awkward...),
		By:    Part(c.pick(16)),
		JSON:  c.pick(8) != 1,
	}
	if c.pick(3) == 1 {
		d.in.Fields = c.fields(d.args)
	}
	if d.in.By&ByMeta != 0 && c.pick(3) == 1 {
		d.in.MetaFields = c.fields(d.meta)
	}
	d.in.AllowBlank = c.pick(2) == 1
	if c.pick(5) == 1 {
		d.in.Custom, d.in.Key, d.in.Fields, d.in.MetaFields = true, one(c, awkward[:len(awkward)-17]...), nil, nil
		if d.in.By &= ByKind | ByQueue; d.in.Key == "\x00" {
			d.in.Key = "k"
		}
	}
	return d
}

// fields names members that are there more often than chance would.
func (c *choices) fields(of any) []string {
	names := []string{}
	for range c.pick(4) {
		names = append(names, one(c, "a", "/a", "b", "/a/b", "/a/0", "", "/", "a/b", "/a~1b", "~1", "/~01", "~", "/~0",
			"0", "/0", "/-", "/a/a", "@id"))
	}
	if object, ok := of.(map[string]any); ok {
		for _, name := range awkward {
			if _, ok := object[name]; ok && c.pick(2) == 0 && (name == "" || name[0] != '/') {
				names = append(names, name)
			}
		}
	}
	return names
}

// change makes a draft that differs in one respect, or perhaps in none.
func (c *choices) change(d draft) draft {
	switch c.pick(12) {
	case 0:
		d.args = c.changeTree(d.args)
	case 1:
		d.in.Kind = one(c, awkward...)
	case 2:
		d.in.Queue = one(c, awkward...)
	case 3:
		d.in.By = Part(c.pick(16))
	case 4:
		d.in.JSON = !d.in.JSON
	case 5:
		d.in.Fields = c.fields(d.args)
	case 6:
		d.meta = c.changeTree(d.meta)
	case 7:
		d.in.Kind, d.in.Queue = d.in.Queue, d.in.Kind
	case 8:
		d.in.Kind, d.in.Queue = d.in.Kind+d.in.Queue, ""
	case 9:
		d.in.Key = one(c, "a", "b")
	case 10:
		d.in.MetaFields = c.fields(d.meta)
	case 11:
		d.in.AllowBlank = !d.in.AllowBlank
	}
	return d
}

// changeTree replaces something somewhere in tree, sharing the rest.
func (c *choices) changeTree(tree any) any {
	switch v := tree.(type) {
	case []any:
		if len(v) == 0 {
			return []any{c.tree(1)}
		}
		list := append([]any{}, v...)
		i := c.pick(len(list))
		switch c.pick(4) {
		case 0:
			list[i] = c.changeTree(list[i])
		case 1:
			j := c.pick(len(list))
			list[i], list[j] = list[j], list[i]
		case 2:
			list = append(list[:i], list[i+1:]...)
		case 3:
			list = append(list, list[i])
		}
		return list
	case map[string]any:
		object := map[string]any{}
		at := c.pick(len(v) + 1)
		for _, name := range awkward {
			value, ok := v[name]
			if !ok {
				continue
			}
			if at == 0 {
				switch c.pick(3) {
				case 0:
					value = c.changeTree(value)
				case 1:
					name = one(c, awkward...)
				case 2:
					at--
					continue
				}
			}
			at--
			object[name] = value
		}
		if at >= 0 {
			object[one(c, awkward...)] = c.tree(1)
		}
		return object
	}
	return c.tree(2)
}

func (d draft) spell(c *choices) Input {
	in := d.in
	in.Args = []byte(spell(d.args, c))
	in.Meta = []byte(spell(d.meta, c))
	if object, ok := d.meta.(map[string]any); ok && len(object) == 0 && c.pick(2) == 1 {
		in.Meta = nil
	}
	return in
}

// twoInputs derives two inputs from data: one value spelled twice, or a value
// and a change of it, or two that have nothing to do with each other.
func twoInputs(data []byte) (a, b Input, sameValue bool) {
	c := &choices{data}
	how := c.pick(3)
	first := c.draft()
	second := first
	switch how {
	case 1:
		second = c.change(first)
	case 2:
		second = c.draft()
	}
	a, b = first.spell(c), second.spell(c)
	return a, b, how == 0 && a.JSON
}

func checkTwoInputs(t testing.TB, data []byte) (refused bool) {
	a, b, sameValue := twoInputs(data)
	checkAgainstOracle(t, a, b)
	preA, errA := Preimage(nil, a)
	preB, errB := Preimage(nil, b)
	if sameValue && (errA == nil) != (errB == nil) || sameValue && string(preA) != string(preB) {
		t.Fatalf("one value spelled twice:\n%s %v\n%s %v", show(a), errA, show(b), errB)
	}
	return errA != nil || errB != nil
}

func FuzzPreimageIsInjective(f *testing.F) {
	rng := rand.NewChaCha8([32]byte{3})
	for i := range 64 {
		data := make([]byte, 16*(i%16))
		rng.Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkTwoInputs(t, data) })
}

func TestPreimagesAreEqualExactlyIfTheOracleSaysSo(t *testing.T) {
	t.Parallel()
	rng := rand.NewChaCha8([32]byte{4})
	n, taken := 20000, 0
	if raceEnabled {
		n = 4000
	}
	for range n {
		data := make([]byte, 300)
		rng.Read(data)
		if !checkTwoInputs(t, data) {
			taken++
		}
	}
	if taken < n/2 {
		t.Errorf("only %d of %d pairs said anything", taken, n)
	}
}

// checkStrict asserts that Check takes data exactly if the oracle does.
func checkStrict(t testing.TB, data []byte) error {
	t.Helper()
	err := Check(data)
	if _, want := oracleValue(data); (err == nil) != (want == nil) {
		t.Fatalf("Check(%.200q) = %v, the oracle says %v", data, err, want)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("not an *Error: %v", err)
	}
	if e != nil {
		checkError(t, e)
	}
	return err
}

func FuzzCheckTakesExactlyStrictJSON(f *testing.F) {
	for _, h := range hostile() {
		if len(h.data) < 200 {
			f.Add([]byte(h.data))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkStrict(t, data) == nil {
			checkText(t, mustSum(t, job(string(data))).Text)
		}
	})
}

package fingerprint

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"unicode/utf16"
)

// choices makes random values, and spells them in random ways, from bytes, so
// that a fuzzer can steer it. When the bytes run out every choice is the first.
type choices struct{ bytes []byte }

func (c *choices) pick(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

func one[T any](c *choices, from ...T) T { return from[c.pick(len(from))] }

// A tree is nil, bool, string, number, []any or map[string]any.
type number struct {
	negative bool
	digits   string // without zeros at either end; empty is zero
	exponent string
}

var awkward = []string{
	"a", "b", "ab", "", "a.b", "a/b", "/", "/a", "~", "~1", "~0", "@id", "*", "#", "\"", "\\", "0", "1", "-", "\x00",
	"\x1f", "\x7f",
	"é", "e\u0301", "\ufffd", "\uffff", "😀", "\U0010ffff", "kind", "args=", "{}", "null", "\u2028", " ", "aa", "10",
}

func (c *choices) tree(depth int) any {
	n := 8
	if depth == 0 {
		n = 6
	}
	switch c.pick(n) {
	case 0:
		return c.number()
	case 1:
		return one(c, awkward...)
	case 2:
		return nil
	case 3:
		return c.pick(2) == 0
	case 4:
		return one(c, awkward...) + one(c, awkward...)
	case 5:
		return c.number()
	case 6:
		list := []any{}
		for range c.pick(5) {
			list = append(list, c.tree(depth-1))
		}
		return list
	}
	return c.object(depth)
}

func (c *choices) object(depth int) map[string]any {
	object := map[string]any{}
	for range c.pick(6) {
		object[one(c, awkward...)] = c.tree(depth - 1)
	}
	return object
}

func (c *choices) number() number {
	return number{
		negative: c.pick(2) == 1,
		digits: one(c, "1", "", "2", "11", "101", "9007199254740992", "9007199254740993", "18446744073709551615",
			strings.Repeat("9", 50)),
		exponent: one(c, "0", "1", "-1", "2", "-3", "10", "308", "-400", "99999999999999999", "100000000000000000",
			"999999999999999999", "1000000000000000000",
			"-9223372036854775808", "9223372036854775807", strings.Repeat("9", 30), "-1"+strings.Repeat("0", 30)),
	}
}

// smallNumber spells a number that big.Rat can hold.
func (c *choices) smallNumber() string {
	n := c.number()
	n.exponent = one(c, "0", "1", "-1", "2", "-3", "30")
	if n.digits == "" {
		return one(c, "0", "-0", "0.00", "0e5", "-0E-30")
	}
	return n.spell(c)
}

// spell writes tree as JSON in some way.
func spell(tree any, c *choices) string {
	var b strings.Builder
	space := func() { b.WriteString(one(c, "", "", "", " ", "\n", "\t \r")) }
	var write func(any)
	write = func(v any) {
		space()
		switch v := v.(type) {
		case nil:
			b.WriteString("null")
		case bool:
			fmt.Fprint(&b, v)
		case string:
			b.WriteString(spellString(v, c))
		case number:
			b.WriteString(v.spell(c))
		case []any:
			b.WriteByte('[')
			for i, e := range v {
				if i > 0 {
					b.WriteByte(',')
				}
				write(e)
			}
			b.WriteByte(']')
		case map[string]any:
			names := slices.Sorted(maps.Keys(v))
			for i := range names {
				j := i + c.pick(len(names)-i)
				names[i], names[j] = names[j], names[i]
			}
			b.WriteByte('{')
			for i, name := range names {
				if i > 0 {
					b.WriteByte(',')
				}
				space()
				b.WriteString(spellString(name, c))
				space()
				b.WriteByte(':')
				write(v[name])
			}
			space()
			b.WriteByte('}')
		}
		space()
	}
	write(tree)
	return b.String()
}

func spellString(s string, c *choices) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		short, hasShort := map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\f': `\f`, '\n': `\n`,
			'\r': `\r`, '\t': `\t`}[r]
		mustEscape := r < 0x20 || r == '"' || r == '\\'
		switch how := c.pick(4); {
		case how < 2 && !mustEscape:
			b.WriteRune(r)
		case how == 2 && hasShort:
			b.WriteString(short)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, one(c, `\u%04x\u%04X`, `\u%04X\u%04x`), high, low)
		default:
			fmt.Fprintf(&b, one(c, `\u%04x`, `\u%04X`), r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (n number) spell(c *choices) string {
	sign := ""
	if n.negative {
		sign = "-"
	}
	if n.digits == "" {
		return one(c, "", "-") + one(c, "0", "0.0", "0e0", "0.000E-5", "0e999999999999999999999", "0E+00")
	}
	exponent, _ := new(big.Int).SetString(n.exponent, 10)
	move := func(by int) { exponent.Add(exponent, big.NewInt(int64(by))) }
	whole, fraction := n.digits, ""
	switch c.pick(4) {
	case 1: // zeros after the digits, as many as make the exponent go away if few
		zeros := c.pick(4)
		if exponent.IsInt64() && exponent.Int64() > 0 && exponent.Int64() < 20 {
			zeros = int(exponent.Int64())
		}
		whole += strings.Repeat("0", zeros)
		move(-zeros)
	case 2: // a point within the digits
		at := 1 + c.pick(len(whole))
		whole, fraction = whole[:at], whole[at:]
		move(len(fraction))
	case 3: // a point before the digits
		zeros := c.pick(4)
		fraction = strings.Repeat("0", zeros) + whole
		move(len(fraction))
		whole = "0"
	}
	fraction += strings.Repeat("0", c.pick(3))
	if fraction != "" {
		fraction = "." + fraction
	}
	if exponent.Sign() == 0 && c.pick(2) == 0 {
		return sign + whole + fraction
	}
	plus := one(c, "", "+")
	if exponent.Sign() < 0 {
		plus = "-"
	}
	return sign + whole + fraction + one(c, "e", "E") + plus + strings.Repeat("0", c.pick(3)) +
		new(big.Int).Abs(exponent).String()
}

package dashboard

import (
	"encoding/json"
	"strings"

	"github.com/onceq/onceq/internal/jsontext"
)

// kindOf is the kind that a readable key begins with; "" = it has none.
func kindOf(text string) string {
	rest, ok := strings.CutPrefix(text, "kind=")
	if !ok {
		return ""
	}
	name, _ := cutName(rest)
	return name
}

// maskedKey masks members in a readable key, as internal/fingerprint writes it:
//
//	kind=mail queue=default key="a b" args={"to":1} meta fields /a=1 /b=absent
//
// A key of the caller's own is masked as a whole, because nobody knows what it
// was made of, and so is what cannot be read, such as a text that was cut.
func maskedKey(text string, pointers []string) string {
	if strings.HasPrefix(text, "sha256:") {
		return text // the values are not in it
	}
	var b strings.Builder
	hidden := func() string {
		if s := b.String(); s != "" && !strings.HasSuffix(s, " ") {
			return s + " " + masked
		}
		return b.String() + masked
	}
	for rest := text; rest != ""; {
		if s, ok := strings.CutPrefix(rest, " "); ok {
			b.WriteByte(' ')
			rest = s
			continue
		}
		word, after, found := "", "", false
		for _, w := range []string{"kind=", "queue=", "key=", "args=", "meta=", "fields", "meta fields"} {
			if after, found = strings.CutPrefix(rest, w); found {
				word = w
				break
			}
		}
		switch word {
		case "kind=", "queue=":
			name, left := cutName(after)
			if name == "" {
				return hidden()
			}
			b.WriteString(rest[:len(rest)-len(left)])
			rest = left
		case "key=":
			var own string
			left, ok := cutJSON(after, &own)
			if !ok {
				return hidden()
			}
			b.WriteString("key=" + masked)
			rest = left
		case "args=", "meta=":
			shown, left, ok := maskedJSON(after, "", pointers)
			if !ok {
				return hidden()
			}
			b.WriteString(word + shown)
			rest = left
		case "fields", "meta fields":
			shown, left, ok := maskedFields(after, pointers)
			if !ok {
				return hidden()
			}
			b.WriteString(word + shown)
			rest = left
		default:
			return hidden()
		}
	}
	return b.String()
}

// maskedFields masks a list of " /pointer=value", and returns what follows it.
func maskedFields(text string, pointers []string) (shown, rest string, ok bool) {
	var b strings.Builder
	for {
		s := strings.TrimPrefix(text, " ")
		if s == text || !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, `"/`) {
			return b.String(), text, true
		}
		pointer, after := cutName(s)
		value, isValue := strings.CutPrefix(after, "=")
		if pointer == "" || !isValue {
			return "", "", false
		}
		b.WriteString(" " + s[:len(s)-len(value)])
		if rest, absent := strings.CutPrefix(value, "absent"); absent {
			b.WriteString("absent")
			text = rest
			continue
		}
		one, after, ok := maskedJSON(value, pointer, pointers)
		if !ok {
			return "", "", false
		}
		b.WriteString(one)
		text = after
	}
}

// maskedJSON masks the JSON value at the beginning of a text, which stands at a
// pointer, and returns what follows it.
func maskedJSON(text, at string, pointers []string) (shown, rest string, ok bool) {
	var raw json.RawMessage
	if rest, ok = cutJSON(text, &raw); !ok {
		return "", "", false
	}
	var below []string
	for _, p := range pointers {
		if strings.HasPrefix(at, p) && (len(at) == len(p) || at[len(p)] == '/') {
			below = append(below, "") // the value, or what it is a part of, is masked
		} else if s, ok := strings.CutPrefix(p, at); ok && strings.HasPrefix(s, "/") {
			below = append(below, s)
		}
	}
	if len(below) == 0 {
		return string(raw), rest, true
	}
	v, err := parse(raw)
	if err != nil {
		return "", "", false
	}
	said, err := jsontext.Encode(maskedValue(v, below))
	return string(said), rest, err == nil
}

// cutJSON reads the JSON value at the beginning of a text.
func cutJSON(text string, into any) (rest string, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	if d.Decode(into) != nil {
		return "", false
	}
	return text[d.InputOffset():], true
}

// cutName reads a name, which is quoted or ends before a space or "=".
func cutName(text string) (name, rest string) {
	if strings.HasPrefix(text, `"`) {
		rest, ok := cutJSON(text, &name)
		if !ok {
			return "", ""
		}
		return name, rest
	}
	if i := strings.IndexAny(text, " ="); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

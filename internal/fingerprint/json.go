package fingerprint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	tagNull   = 'n'
	tagTrue   = 't'
	tagFalse  = 'f'
	tagNumber = '#'
	tagString = '"'
	tagArray  = '['
	tagObject = '{'

	maxDepth = 64
)

// valueLen is the length of the encoded value at the front of b.
func valueLen(b []byte) int {
	switch b[0] {
	case tagNull, tagTrue, tagFalse:
		return 1
	}
	return 5 + int(binary.BigEndian.Uint32(b[1:]))
}

// reader reads JSON and appends its value, encoded, to out. A container is
// encoded in place: its length is filled in, and its members put in order,
// when it ends.
type reader struct {
	of      string // what is read, for errors
	src     []byte
	pos     int
	out     []byte
	members []member // of the objects that are open, outermost first
	sorted  []byte   // an object's members while they are put in order
	path    [maxDepth]step
	depth   int
}

// member is where a member stands in out, and its name in src.
type member struct{ from, nameTo, to, src int }

const memberSize = 32

// step leads from an open container to what is being read in it.
type step struct {
	kind  stepKind
	name  span // in out
	index int
}

type stepKind uint8

const (
	stepNone stepKind = iota // between two members
	stepName
	stepIndex
)

// read appends the value of src, which must be one JSON text, to r.out.
func (r *reader) read(of string, src []byte) *Error {
	r.of, r.src, r.pos, r.depth, r.members = of, src, 0, 0, r.members[:0]
	r.space()
	if r.pos == len(src) {
		return r.fail(r.pos, "empty, which is not JSON; send null or {} to say nothing")
	}
	if err := r.value(); err != nil {
		return err
	}
	r.space()
	if r.pos < len(src) {
		return r.fail(r.pos, "data after the end of the JSON value; send one value")
	}
	return nil
}

func (r *reader) value() *Error {
	start := r.pos
	switch c := r.peek(); {
	case c == '{':
		return r.object()
	case c == '[':
		return r.array()
	case c == '"':
		r.out = append(r.out, tagString)
		return r.str()
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	case r.word("null"):
		r.out = append(r.out, tagNull)
		return nil
	case r.word("true"):
		r.out = append(r.out, tagTrue)
		return nil
	case r.word("false"):
		r.out = append(r.out, tagFalse)
		return nil
	case r.word("NaN"), r.word("Infinity"):
		return r.fail(start, notFinite)
	}
	return r.unexpected("a JSON value")
}

func (r *reader) object() *Error {
	body, err := r.open(tagObject)
	if err != nil {
		return err
	}
	at := &r.path[r.depth-1]
	base := len(r.members)
	inOrder := true
	if r.space(); r.peek() == '}' {
		return r.close(body)
	}
	for {
		if r.peek() != '"' {
			return r.unexpected("a member name in double quotes")
		}
		m := member{from: len(r.out), src: r.pos}
		if err := r.str(); err != nil {
			return err
		}
		m.nameTo = len(r.out)
		*at = step{kind: stepName, name: span{m.from + 4, m.nameTo}}
		if r.space(); r.peek() != ':' {
			return r.unexpected(`":"`)
		}
		r.pos++
		r.space()
		if err := r.value(); err != nil {
			return err
		}
		m.to = len(r.out)
		if n := len(r.members); inOrder && n > base {
			inOrder = bytes.Compare(r.name(r.members[n-1]), r.name(m)) < 0
		}
		r.members = append(r.members, m)
		*at = step{}
		switch r.space(); r.peek() {
		case ',':
			r.pos++
			r.space()
		case '}':
			if !inOrder {
				if err := r.order(r.members[base:]); err != nil {
					return err
				}
			}
			r.members = r.members[:base]
			return r.close(body)
		default:
			return r.unexpected(`"," or "}"`)
		}
	}
}

func (r *reader) array() *Error {
	body, err := r.open(tagArray)
	if err != nil {
		return err
	}
	at := &r.path[r.depth-1]
	if r.space(); r.peek() == ']' {
		return r.close(body)
	}
	*at = step{kind: stepIndex}
	for {
		if err := r.value(); err != nil {
			return err
		}
		switch r.space(); r.peek() {
		case ',':
			at.index++
			r.pos++
			r.space()
		case ']':
			return r.close(body)
		default:
			return r.unexpected(`"," or "]"`)
		}
	}
}

// open starts a container and returns where its body starts in out.
func (r *reader) open(tag byte) (int, *Error) {
	if r.depth == maxDepth {
		return 0, r.fail(r.pos, "nested deeper than 64; flatten it, or send the inner part as a string")
	}
	r.path[r.depth] = step{}
	r.depth++
	r.pos++
	r.out = append(r.out, tag, 0, 0, 0, 0)
	return len(r.out), nil
}

func (r *reader) close(body int) *Error {
	r.depth--
	r.pos++
	r.setLen(body)
	return nil
}

// setLen fills in the length of what began at body.
func (r *reader) setLen(body int) {
	binary.BigEndian.PutUint32(r.out[body-4:], uint32(len(r.out)-body))
}

func (r *reader) name(m member) []byte { return r.out[m.from+4 : m.nameTo] }

// order sorts the members of the object that ends r.out and refuses a name
// that occurs twice.
func (r *reader) order(members []member) *Error {
	from := members[0].from
	slices.SortFunc(members, func(a, b member) int {
		if c := bytes.Compare(r.name(a), r.name(b)); c != 0 {
			return c
		}
		return cmp.Compare(a.from, b.from)
	})
	r.sorted = r.sorted[:0]
	for i, m := range members {
		if i > 0 && bytes.Equal(r.name(members[i-1]), r.name(m)) {
			r.path[r.depth-1] = step{kind: stepName, name: span{m.from + 4, m.nameTo}}
			return r.fail(m.src, "this member occurs twice, and readers differ on which one counts; send it once")
		}
		r.sorted = append(r.sorted, r.out[m.from:m.to]...)
	}
	copy(r.out[from:], r.sorted)
	return nil
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str appends the string at r.pos with its length.
func (r *reader) str() *Error {
	r.out = append(r.out, 0, 0, 0, 0)
	body := len(r.out)
	start := r.pos
	r.pos++
	for {
		from := r.pos
		i := from
		for i < len(r.src) && plain[r.src[i]] {
			i++
		}
		r.out = append(r.out, r.src[from:i]...)
		r.pos = i
		switch c := r.peek(); {
		case r.pos == len(r.src):
			return r.fail(start, `this string does not end; close it with a double quote`)
		case c == '"':
			r.pos++
			r.setLen(body)
			return nil
		case c == '\\':
			if err := r.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return r.fail(r.pos, `control character in a string; write it as \u00XX`)
		default:
			_, n := utf8.DecodeRune(r.src[r.pos:])
			if n == 1 {
				return r.fail(r.pos, "not valid UTF-8; encode text as UTF-8 and binary data as base64")
			}
			r.out = append(r.out, r.src[r.pos:r.pos+n]...)
			r.pos += n
		}
	}
}

func (r *reader) escape() *Error {
	at := r.pos
	r.pos++
	c := r.peek()
	r.pos++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		u, ok := r.hex4()
		if !ok {
			return r.fail(at, `\u must be followed by four hexadecimal digits`)
		}
		if utf16.IsSurrogate(u) {
			low := rune(-1)
			if r.word(`\u`) {
				low, _ = r.hex4()
			}
			if u = utf16.DecodeRune(u, low); u == utf8.RuneError {
				return r.fail(at,
					`half of a surrogate pair, which stands for no character; write both halves, or \ufffd`)
			}
		}
		r.out = utf8.AppendRune(r.out, u)
		return nil
	default:
		return r.fail(at, `unknown escape; in JSON a backslash goes before one of "\/bfnrtu`)
	}
	r.out = append(r.out, c)
	return nil
}

// hex4 reads four hexadecimal digits.
func (r *reader) hex4() (rune, bool) {
	if len(r.src)-r.pos < 4 {
		return -1, false
	}
	u := rune(0)
	for _, c := range r.src[r.pos : r.pos+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1, false
		}
		u = u<<4 | rune(c)
	}
	r.pos += 4
	return u, true
}

func (r *reader) space() {
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek is the byte at r.pos, or 0 (which JSON has no use for) at the end.
func (r *reader) peek() byte {
	if r.pos < len(r.src) {
		return r.src[r.pos]
	}
	return 0
}

// word steps over w and tells whether it was there.
func (r *reader) word(w string) bool {
	if len(r.src)-r.pos < len(w) || string(r.src[r.pos:r.pos+len(w)]) != w {
		return false
	}
	r.pos += len(w)
	return true
}

func (r *reader) unexpected(want string) *Error {
	if r.pos == len(r.src) {
		return r.fail(r.pos, "ends where JSON needs "+want+"; it may have been cut short")
	}
	return r.fail(r.pos, "not JSON here: it needs "+want)
}

// fail names the place: the JSON Pointer of what was being read, and the byte.
func (r *reader) fail(at int, rule string) *Error {
	var pointer []byte
	for _, s := range r.path[:r.depth] {
		if len(pointer) > maxExcerpt {
			break
		}
		switch s.kind {
		case stepName:
			name := r.out[s.name.from:s.name.to]
			pointer = appendToken(pointer, name[:min(len(name), maxExcerpt)])
		case stepIndex:
			pointer = strconv.AppendInt(append(pointer, '/'), int64(s.index), 10)
		}
	}
	place := " at byte " + strconv.Itoa(at)
	return &Error{r.of, string(quoteCut(pointer, maxExcerpt-len(place))) + place, rule}
}

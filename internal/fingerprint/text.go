package fingerprint

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

const (
	maxText    = 1 << 10
	maxExcerpt = 100 // of a value or a place in an error
	maxBytes   = 64  // of args that are not JSON, in a text

	ellipsis = "…"
)

// render turns the pre-image into its readable form. It looks at nothing else,
// so that equal keys have equal texts.
func (s *scratch) render() string {
	b := s.text[:0]
	by, form, rest := Part(s.pre[len(keyHeader)]), s.pre[len(keyHeader)+1], s.pre[len(keyHeader)+2:]
	var v []byte
	if by&ByKind != 0 {
		v, rest = cutStr(rest)
		b = appendName(append(b, "kind="...), v)
	}
	if by&ByQueue != 0 {
		v, rest = cutStr(rest)
		b = appendName(append(spaced(b), "queue="...), v)
	}
	if form == formCustom {
		v, _ = cutStr(rest)
		b = appendQuoted(append(spaced(b), "key="...), v, maxText)
	}
	if by&ByArgs != 0 {
		b, rest = renderBlock(spaced(b), "args", "fields", rest)
	}
	if by&ByMeta != 0 {
		b, _ = renderBlock(spaced(b), "meta", "meta fields", rest)
	}
	s.text = cut(b, maxText)
	return string(s.text)
}

// renderBlock appends the block at the front of rest and returns what
// follows it.
func renderBlock(b []byte, whole, narrowed string, rest []byte) (text, after []byte) {
	kind := rest[0]
	rest = rest[1:]
	switch kind {
	case blockJSON:
		n := valueLen(rest)
		return appendValue(append(append(b, whole...), '='), rest[:n]), rest[n:]
	case blockBytes:
		v, rest := cutStr(rest)
		b = append(append(b, whole...), "=bytes("...)
		b = append(strconv.AppendInt(b, int64(len(v)), 10), ')')
		b = strconv.AppendQuote(b, string(v[:min(len(v), maxBytes)]))
		if len(v) > maxBytes {
			b = append(b, ellipsis...)
		}
		return b, rest
	}
	count := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	b = append(b, narrowed...)
	for range count {
		var pointer []byte
		pointer, rest = cutStr(rest)
		b = append(appendName(append(b, ' '), pointer), '=')
		present := rest[0] == fieldPresent
		rest = rest[1:]
		if !present {
			b = append(b, "absent"...) // no JSON value is spelled so
			continue
		}
		n := valueLen(rest)
		b = appendValue(b, rest[:n])
		rest = rest[n:]
	}
	return b, rest
}

func spaced(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ' ')
	}
	return b
}

// appendName appends s bare if nobody could misread it, else quoted.
func appendName(b, s []byte) []byte {
	bare := len(s) > 0
	for _, c := range s {
		bare = bare && c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\'
	}
	if bare {
		return append(b, s[:min(len(s), maxText)]...)
	}
	return appendQuoted(b, s, maxText)
}

// appendValue appends an encoded value as compact JSON. It may stop once b is
// longer than a text can be.
func appendValue(b, v []byte) []byte {
	switch v[0] {
	case tagNull:
		return append(b, "null"...)
	case tagTrue:
		return append(b, "true"...)
	case tagFalse:
		return append(b, "false"...)
	}
	body, _ := cutStr(v[1:])
	switch v[0] {
	case tagNumber:
		return appendDecimal(b, body)
	case tagString:
		return appendQuoted(b, body, maxText)
	}
	b = append(b, v[0])
	for i := 0; len(body) > 0 && len(b) <= maxText; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		if v[0] == tagObject {
			var name []byte
			name, body = cutStr(body)
			b = append(appendQuoted(b, name, maxText), ':')
		}
		n := valueLen(body)
		b = appendValue(b, body[:n])
		body = body[n:]
	}
	return append(b, v[0]+2) // "]" and "}" are two after "[" and "{"
}

// appendDecimal appends an encoded number the way people write it, within
// reason: 1e3 as 1000, 15e-1 as 1.5, 5e-9 as it is.
func appendDecimal(b, number []byte) []byte {
	const zeros = 20
	if number[0] == '-' {
		b, number = append(b, '-'), number[1:]
	}
	at := bytes.LastIndexByte(number, 'e')
	if at < 0 {
		return append(b, number...) // zero
	}
	digits := number[:at]
	if len(digits) > maxText || len(number)-at > 5 {
		return append(b, number[:min(len(number), maxText)]...)
	}
	exponent, _ := strconv.Atoi(string(number[at+1:])) // four characters at most
	point := len(digits) + exponent                    // digits before the decimal point
	switch {
	case exponent > zeros || -point > zeros:
		return append(b, number...)
	case exponent >= 0:
		b = append(b, digits...)
		for range exponent {
			b = append(b, '0')
		}
		return b
	case point > 0:
		b = append(b, digits[:point]...)
	default:
		b = append(b, '0')
	}
	b = append(b, '.')
	for range -point {
		b = append(b, '0')
	}
	return append(b, digits[max(point, 0):]...)
}

// appendQuoted appends s as a JSON string with everything unprintable escaped.
// It may stop, without the closing quote, once b is longer than limit.
func appendQuoted(b, s []byte, limit int) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		if len(b) > limit {
			return b
		}
		n := 0
		for n < len(s) && n <= limit && plain[s[n]] && s[n] != 0x7f {
			n++
		}
		if n > 0 { // nearly always all of it
			b, s = append(b, s[:n]...), s[n:]
			continue
		}
		c, n := utf8.DecodeRune(s)
		s = s[n:]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case strconv.IsPrint(c):
			b = utf8.AppendRune(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		default:
			b = appendEscape(b, c)
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, c rune) []byte {
	const hex = "0123456789abcdef"
	if c > 0xffff {
		c -= 0x10000
		b = appendEscape(b, 0xd800+c>>10)
		c = 0xdc00 + c&0x3ff
	}
	return append(b, '\\', 'u', hex[c>>12], hex[c>>8&15], hex[c>>4&15], hex[c&15])
}

// cut shortens b, which is valid UTF-8, to at most limit bytes.
func cut(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	n := limit - len(ellipsis)
	for !utf8.RuneStart(b[n]) {
		n--
	}
	return append(b[:n], ellipsis...)
}

// quoteCut quotes s in at most limit bytes.
func quoteCut(s []byte, limit int) []byte {
	b := appendQuoted(nil, s, limit)
	if len(b) <= limit {
		return b
	}
	return append(cut(b, limit-1), '"')
}

func excerpt(s string) string {
	return string(quoteCut([]byte(s[:min(len(s), 2*maxExcerpt)]), maxExcerpt))
}

func listExcerpt(names []string) string {
	b := []byte{'['}
	for i, name := range names {
		if i > 0 {
			b = append(b, ' ')
		}
		if b = append(b, excerpt(name)...); len(b) > maxExcerpt {
			break
		}
	}
	return string(cut(append(b, ']'), maxExcerpt))
}

// pointersExcerpt is listExcerpt of the fields as they were understood.
func (s *scratch) pointersExcerpt() string {
	var names []string
	for _, f := range s.fields {
		if names = append(names, string(s.pointer(f))); len(names) > maxExcerpt {
			break
		}
	}
	return listExcerpt(names)
}

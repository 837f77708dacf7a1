package fingerprint

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// span is a range of a buffer that may still move.
type span struct{ from, to int }

func (s *scratch) pointer(f span) []byte { return s.names[f.from:f.to] }

// readFields writes names as JSON Pointers. A pointer has one spelling, so
// equal bytes mean the same member. what is the field of the input.
func (s *scratch) readFields(what string, names []string) *Error {
	s.fields, s.names = s.fields[:0], s.names[:0]
	for _, name := range names {
		if !utf8.ValidString(name) {
			return &Error{what, excerpt(name), "is not valid UTF-8, so no member can have this name"}
		}
		from := len(s.names)
		if strings.HasPrefix(name, "/") {
			if !validPointer(name) {
				return &Error{what, excerpt(name),
					`is no JSON Pointer: "~" must be followed by 0 (for "~") or 1 (for "/")`}
			}
			s.names = append(s.names, name...)
		} else {
			s.names = appendToken(s.names, name)
		}
		s.fields = append(s.fields, span{from, len(s.names)})
	}
	slices.SortFunc(s.fields, func(a, b span) int { return bytes.Compare(s.pointer(a), s.pointer(b)) })
	s.fields = slices.CompactFunc(s.fields, func(a, b span) bool { return bytes.Equal(s.pointer(a), s.pointer(b)) })
	return nil
}

func validPointer(p string) bool {
	for i := range len(p) {
		if p[i] == '~' && (i+1 == len(p) || p[i+1] != '0' && p[i+1] != '1') {
			return false
		}
	}
	return true
}

// appendToken appends "/" and name, escaped, to a pointer.
func appendToken[T string | []byte](dst []byte, name T) []byte {
	dst = append(dst, '/')
	for i := range len(name) {
		switch c := name[i]; c {
		case '~':
			dst = append(dst, "~0"...)
		case '/':
			dst = append(dst, "~1"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendFields appends the block of doc, a value, narrowed to s.fields.
func (s *scratch) appendFields(n *narrowing, doc []byte) *Error {
	s.pre = binary.BigEndian.AppendUint32(append(s.pre, blockFields), uint32(len(s.fields)))
	present, said := false, false
	for _, f := range s.fields {
		s.pre = appendStr(s.pre, s.pointer(f))
		v, ok := find(doc, s.pointer(f))
		if !ok {
			s.pre = append(s.pre, fieldAbsent)
			continue
		}
		present = true
		said = said || !blank(v)
		s.pre = append(append(s.pre, fieldPresent), v...)
	}
	rule := ""
	switch {
	case said, present && n.allowBlank:
		return nil
	case present:
		rule = "are all null or blank in the " + n.of + ", which would make every such job the same; give one of " +
			"them a value, or say {AllowBlank} if null is a value"
	case doc[0] != tagObject:
		rule = "name nothing: the " + n.of + " are not an object, so none of these is present, which would make " +
			"every such job the same; send an object, or drop the fields"
	default:
		rule = "name nothing: none of these is present in the " + n.of + ", which would make every such job the " +
			"same; name members that are there" + s.dotted(doc)
	}
	return &Error{n.field, s.pointersExcerpt(), rule}
}

// dotted asks about a name with dots that leads to a member if the dots are
// slashes.
func (s *scratch) dotted(doc []byte) string {
	for _, f := range s.fields {
		said := string(s.pointer(f))
		path := strings.ReplaceAll(said, ".", "/")
		if _, there := find(doc, []byte(path)); there && path != said {
			return " (did you mean " + path + "?)"
		}
	}
	return ""
}

// blank reports whether a value is null, or text without anything but white
// space.
func blank(v []byte) bool {
	switch v[0] {
	case tagNull:
		return true
	case tagString:
		text, _ := cutStr(v[1:])
		return len(bytes.TrimSpace(text)) == 0
	}
	return false
}

// find returns the value within doc that pointer names.
func find(doc, pointer []byte) ([]byte, bool) {
	for len(pointer) > 0 {
		token := pointer[1:]
		pointer = nil
		if i := bytes.IndexByte(token, '/'); i >= 0 {
			token, pointer = token[:i], token[i:]
		}
		var ok bool
		switch doc[0] {
		case tagObject:
			doc, ok = memberOf(doc, token)
		case tagArray:
			doc, ok = elementOf(doc, token)
		}
		if !ok {
			return nil, false
		}
	}
	return doc[:valueLen(doc)], true
}

func memberOf(object, token []byte) ([]byte, bool) {
	if bytes.IndexByte(token, '~') >= 0 {
		// "~1" first: "~01" is "~1" and not "/".
		token = bytes.ReplaceAll(token, []byte("~1"), []byte("/"))
		token = bytes.ReplaceAll(token, []byte("~0"), []byte("~"))
	}
	body, _ := cutStr(object[1:])
	for len(body) > 0 {
		name, value := cutStr(body)
		if bytes.Equal(name, token) {
			return value, true
		}
		body = value[valueLen(value):]
	}
	return nil, false
}

func elementOf(array, token []byte) ([]byte, bool) {
	// Eighteen digits are more elements than any array has, and fit an int64.
	if len(token) == 0 || len(token) > 18 || token[0] == '0' && len(token) > 1 {
		return nil, false
	}
	index := int64(0)
	for _, c := range token {
		if c < '0' || c > '9' {
			return nil, false
		}
		index = index*10 + int64(c-'0')
	}
	body, _ := cutStr(array[1:])
	for len(body) > 0 {
		if index == 0 {
			return body, true
		}
		index--
		body = body[valueLen(body):]
	}
	return nil, false
}

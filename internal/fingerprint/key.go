package fingerprint

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	keyHeader    = "onceq-key-v1"
	digestHeader = "onceq-args-v1"

	formParts  = 'P'
	formCustom = 'K'

	blockJSON   = 'J'
	blockBytes  = 'B'
	blockFields = 'F'

	fieldAbsent  = 0
	fieldPresent = 1

	maxKey = 1 << 10

	// maxInput keeps every length within 32 bits: no encoding is more than
	// four times as long as what it encodes.
	maxInput = 1 << 28
)

var emptyObject = []byte("{}")

// build reads in and leaves its pre-image in s.pre.
func (s *scratch) build(in *Input) *Error {
	if err := checkScope(in); err != nil {
		return err
	}
	if err := s.readArgs(in.Args, in.JSON); err != nil {
		return err
	}
	if in.By&ByMeta != 0 {
		if err := s.readMeta(in.Meta); err != nil {
			return err
		}
	}

	form := byte(formParts)
	if in.Custom {
		form = formCustom
	}
	s.pre = append(append(s.pre[:0], keyHeader...), byte(in.By), form)
	if in.By&ByKind != 0 {
		s.pre = appendStr(s.pre, in.Kind)
	}
	if in.By&ByQueue != 0 {
		s.pre = appendStr(s.pre, in.Queue)
	}
	if in.Custom {
		s.pre = appendStr(s.pre, in.Key)
	}
	args, meta := narrowings(in)
	if in.By&ByArgs != 0 {
		if err := s.appendBlock(&args, s.argsHashed()[len(digestHeader):]); err != nil {
			return err
		}
	}
	if in.By&ByMeta != 0 {
		if err := s.appendBlock(&meta, s.json.out[s.argEnd:]); err != nil {
			return err
		}
	}
	return nil
}

// narrowing is the members to which a part of a job is narrowed.
type narrowing struct {
	of         string // "args" or "meta"
	field      string // of Input
	names      []string
	allowBlank bool
}

func narrowings(in *Input) (args, meta narrowing) {
	args = narrowing{"args", "Fields", in.Fields, in.AllowBlank}
	meta = narrowing{"meta", "MetaFields", in.MetaFields, in.AllowBlank}
	if in.By&ByArgs == 0 && in.Fields != nil {
		meta.field, meta.names = "Fields", in.Fields
	}
	return args, meta
}

// checkScope refuses what has no meaning before any JSON is read.
func checkScope(in *Input) *Error {
	by := strconv.Itoa(int(in.By))
	size := uint64(len(in.Kind)) + uint64(len(in.Queue)) + uint64(len(in.Args)) + uint64(len(in.Meta))
	for _, names := range [][]string{in.Fields, in.MetaFields} {
		for _, f := range names {
			size += uint64(len(f))
		}
	}
	switch {
	case size > maxInput:
		return tooLong(size)
	case in.By&^allParts != 0:
		return &Error{"By", by, "has bits that stand for no part; use {ByKind}, {ByQueue}, {ByArgs} and {ByMeta}"}
	case in.Custom && in.By&(ByArgs|ByMeta) != 0:
		return &Error{"By", by, "a key of your own takes the place of args and meta; its scope is {ByKind}, " +
			"{ByQueue}, both or none"}
	case in.Custom:
		if in.Fields != nil {
			return &Error{"Fields", listExcerpt(in.Fields), "do not go with a key of your own, which takes the place " +
				"of the args; drop one of the two"}
		}
		if in.MetaFields != nil {
			return &Error{"MetaFields", listExcerpt(in.MetaFields),
				"do not go with a key of your own, which takes the place of the args; drop one of the two"}
		}
		return checkKey(in.Key)
	case in.By == 0:
		return &Error{"By", by, "no part takes part, so every job would be the same; name at least one"}
	case in.MetaFields != nil && len(in.MetaFields) == 0:
		return &Error{"MetaFields", "[]", "is empty; name the members that count, or leave it out for all"}
	case in.MetaFields != nil && in.By&ByMeta == 0:
		return &Error{"MetaFields", listExcerpt(in.MetaFields),
			"narrow the meta, which takes no part; add {ByMeta}, or drop them"}
	case in.MetaFields != nil && in.Fields != nil && in.By&ByArgs == 0:
		return &Error{"MetaFields", listExcerpt(in.MetaFields),
			"and {Fields} both narrow the meta, since the args take no part; drop one of the two, or add {ByArgs}"}
	case in.Fields == nil:
		return nil
	case len(in.Fields) == 0:
		return &Error{"Fields", "[]", "is empty; name the members that count, or leave it out for all"}
	case in.By&(ByArgs|ByMeta) == 0:
		return &Error{"Fields", listExcerpt(in.Fields), "narrow args or meta, and neither takes part; add {ByArgs} " +
			"or {ByMeta}, or drop them"}
	case in.By&ByArgs != 0 && !in.JSON:
		return &Error{"Fields", listExcerpt(in.Fields), "need JSON, and these args are bytes; drop them, or use a " +
			"key of your own"}
	}
	return nil
}

func checkKey(key string) *Error {
	rule := ""
	switch {
	case key == "":
		rule = "is empty; give the key some text, or leave it out"
	case len(key) > maxKey:
		rule = "is longer than 1 KiB; use a hash of it"
	case !utf8.ValidString(key):
		rule = "is not valid UTF-8; use base64 or hex for binary keys"
	case strings.IndexByte(key, 0) >= 0:
		rule = "contains a NUL character; leave it out"
	case strings.TrimSpace(key) == "":
		rule = "is only white space; give the key some text, or leave it out"
	default:
		return nil
	}
	return &Error{"key", excerpt(key), rule}
}

// readArgs starts s.json.out with what the digest is taken of.
func (s *scratch) readArgs(args []byte, isJSON bool) *Error {
	if n := uint64(len(args)); n > maxInput {
		return tooLong(n)
	}
	s.json.out = append(s.json.out[:0], digestHeader...)
	if isJSON {
		s.json.out = append(s.json.out, blockJSON)
		if err := s.json.read("args", args); err != nil {
			return err
		}
	} else {
		s.json.out = append(s.json.out, blockBytes)
		s.json.out = appendStr(s.json.out, args)
	}
	s.argEnd = len(s.json.out)
	return nil
}

func (s *scratch) argsHashed() []byte { return s.json.out[:s.argEnd] }

func (s *scratch) readMeta(meta []byte) *Error {
	if len(meta) == 0 {
		meta = emptyObject
	}
	s.json.out = append(s.json.out, blockJSON)
	if err := s.json.read("meta", meta); err != nil {
		return err
	}
	if s.json.out[s.argEnd+1] != tagObject {
		return &Error{"meta", `"" at byte 0`, "not a JSON object; send an object, or nothing"}
	}
	return nil
}

func (s *scratch) appendBlock(n *narrowing, block []byte) *Error {
	if n.names == nil {
		s.pre = append(s.pre, block...)
		return nil
	}
	if err := s.readFields(n.field, n.names); err != nil {
		return err
	}
	return s.appendFields(n, block[1:])
}

func appendStr[T string | []byte](dst []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}

// cutStr takes str(s) from the front of b.
func cutStr(b []byte) (s, rest []byte) {
	n := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:n], b[n:]
}

func tooLong(size uint64) *Error {
	return &Error{"args", strconv.FormatUint(size, 10) + " bytes",
		"longer than 256 MiB; store the data elsewhere and send where it is"}
}

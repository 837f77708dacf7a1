package pgstore

import (
	"bytes"
	"slices"
	"strings"

	"github.com/onceq/onceq"
)

// A readable key mostly repeats what the row of its job says anyway: one
// character stands for each such part. When a text leaves its row, or the
// args change, the server writes out what the characters stand for. It
// cannot put the members of args in order, so the reader does that. See
// text_v1 in schema/functions/keys.sql.
const (
	markKind  = "\x01" // kind=…
	markQueue = "\x03" // queue=…
	markArgs  = "\x02" // the job's args, members in order; always the last
	markText  = "\x04" // the following text, members in order
	marks     = markKind + markQueue + markArgs + markText
)

// shortText is a readable key as it is stored with a job.
func shortText(r *onceq.NewRow) string {
	text := r.Claim.Text
	if strings.ContainsAny(text, marks) {
		return text
	}
	var short strings.Builder
	short.Grow(16)
	for _, part := range [...]struct{ text, mark string }{{"kind=" + r.Kind, markKind},
		{"queue=" + r.Queue, markQueue}} {
		rest, found := strings.CutPrefix(text, part.text)
		if !found || rest != "" && rest[0] != ' ' {
			continue
		}
		short.WriteString(part.mark)
		if text = rest; text != "" {
			short.WriteByte(' ')
			text = text[1:]
		}
	}
	if rest, found := strings.CutPrefix(text, "args="); found && r.Encoding == onceq.EncodingJSON &&
		len(rest) == len(r.Args) &&
		rest == string(appendInOrder(make([]byte, 0, len(r.Args)), r.Args)) {
		short.WriteString("args=" + markArgs)
	} else {
		short.WriteString(text)
	}
	return short.String()
}

// longText is the readable key of a job as it is handed out.
func longText(text string, j *onceq.JobRow) string {
	first := strings.IndexAny(text, marks)
	if first < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len("kind=queue=")+len(j.Kind)+len(j.Queue)+len(j.Args))
	out = append(out, text[:first]...)
	for i := first; i < len(text); i++ {
		switch text[i] {
		case markKind[0]:
			out = append(append(out, "kind="...), j.Kind...)
		case markQueue[0]:
			out = append(append(out, "queue="...), j.Queue...)
		case markArgs[0]:
			out = appendInOrder(out, j.Args)
		case markText[0]:
			return string(appendInOrder(out, []byte(text[i+1:])))
		default:
			out = append(out, text[i])
		}
	}
	return string(out)
}

// looseText is a readable key that has left the row of its job, as it is
// handed out.
func looseText(text string) string {
	before, args, found := strings.Cut(text, markText)
	if !found {
		return text
	}
	return string(appendInOrder([]byte(before), []byte(args)))
}

// appendInOrder appends JSON without white space, with the members of its
// objects in the order of their names, as a readable key has them. For
// anything else the result is undefined: the caller compares, or has
// compared.
func appendInOrder(out, json []byte) []byte {
	w := orderer{in: json, out: out}
	w.value()
	return append(w.out, w.in...)
}

type orderer struct{ in, out []byte }

func (w *orderer) take(n int) {
	w.out = append(w.out, w.in[:n]...)
	w.in = w.in[n:]
}

func (w *orderer) value() {
	if len(w.in) == 0 {
		return
	}
	switch w.in[0] {
	case '{':
		w.object()
	case '[':
		for w.take(1); len(w.in) > 0 && w.in[0] != ']'; {
			w.value()
			if len(w.in) > 0 && w.in[0] == ',' {
				w.take(1)
			} else if len(w.in) == 0 || w.in[0] != ']' {
				return
			}
		}
		w.take(min(1, len(w.in)))
	case '"':
		w.text()
	default:
		n := bytes.IndexAny(w.in, ",]}")
		if n <= 0 {
			n = len(w.in)
		}
		w.take(n)
	}
}

func (w *orderer) text() {
	for n := 1; n < len(w.in); {
		end := bytes.IndexByte(w.in[n:], '"')
		if end < 0 {
			break
		}
		escape := bytes.IndexByte(w.in[n:n+end], '\\')
		if escape < 0 {
			w.take(n + end + 1)
			return
		}
		n += escape + 2
	}
	w.take(len(w.in))
}

// object writes the members as they come, and then puts them in order.
func (w *orderer) object() {
	w.take(1)
	start := len(w.out)
	var few [16]int
	starts, sorted := few[:0], true // where the members begin in w.out
	for len(w.in) > 0 && w.in[0] == '"' {
		from := len(w.out)
		w.text()
		if len(w.in) == 0 || w.in[0] != ':' {
			return
		}
		w.take(1)
		w.value()
		if n := len(starts); n > 0 && bytes.Compare(w.out[starts[n-1]:from-1], w.out[from:]) > 0 {
			sorted = false
		}
		starts = append(starts, from)
		if len(w.in) == 0 || w.in[0] != ',' {
			break
		}
		w.take(1)
	}
	if !sorted {
		w.order(start, starts)
	}
	w.take(min(1, len(w.in)))
}

// order sorts the members of the object that begins at start and ends where
// the output ends.
func (w *orderer) order(start int, starts []int) {
	all := slices.Clone(w.out[start:])
	var few [16][]byte
	members := few[:0]
	for i, from := range starts {
		to := len(all)
		if i+1 < len(starts) {
			to = starts[i+1] - 1 - start // without the comma
		}
		members = append(members, all[from-start:to])
	}
	// but for names that go on with a space or an exclamation mark; the
	// caller compares
	slices.SortStableFunc(members, bytes.Compare)
	w.out = w.out[:start]
	for i, m := range members {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, m...)
	}
}

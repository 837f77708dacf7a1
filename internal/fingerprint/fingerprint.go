package fingerprint

import (
	"crypto/sha256"
	"sync"
)

// Part is a set of the parts of a job that can make it the same as another.
// Its bits are part of the byte format and never change.
type Part uint8

// The parts of a job.
const (
	ByKind  Part = 1 << iota // the kind
	ByQueue                  // the queue
	ByArgs                   // the args, or some members of them
	ByMeta                   // the meta, or some members of it

	allParts = ByKind | ByQueue | ByArgs | ByMeta
)

// Input says what makes two jobs the same.
type Input struct {
	Kind, Queue string // of the job
	By          Part   // which parts take part

	// Args are compared by value if JSON is set, else as bytes. They are read,
	// and refused if they are not valid, whether or not they take part.
	Args []byte
	JSON bool // Args are JSON

	// Meta is a JSON object. Empty means absent, which is the same as {}.
	// It is looked at only if it takes part.
	Meta []byte

	// Fields narrows the args (the meta, if By has ByMeta and not ByArgs) to
	// some members: a name at the top level, or a JSON Pointer (RFC 6901) if it
	// begins with "/". "a" and "/a" are the same field, also where it leads
	// into an array; neither order nor repetition matters. A field that is
	// absent differs from null. One of them at least must be present, and have
	// a value that is neither null nor blank text. Nil means the whole.
	Fields []string

	// MetaFields narrows the meta as Fields narrows the args.
	MetaFields []string

	// AllowBlank takes fields that are all null, blank or absent, as long as
	// one is present.
	AllowBlank bool

	// Custom puts Key in place of the args. By is then the scope of Key:
	// any of ByKind and ByQueue, or 0 for Key alone. Key is looked at only
	// with Custom.
	Custom bool
	Key    string // the caller's own, used verbatim
}

// Result is what Sum computes.
type Result struct {
	// Key is equal for two inputs if and only if they are the same by their
	// own terms, which are part of it.
	Key [32]byte

	// Text is Key for people: at most 1 KiB of valid UTF-8 in which everything
	// unprintable is escaped, cut with "…". Equal keys have equal texts.
	Text string

	// Digest is equal if and only if the args are equal by value, whatever
	// else the input says.
	Digest [16]byte
}

// Sum computes the key of in, its readable form and the digest of its args.
// Any error is an [*Error].
func Sum(in Input) (Result, error) {
	s := getScratch()
	defer s.release()
	if err := s.build(&in); err != nil {
		return Result{}, err
	}
	return Result{
		Key:    sha256.Sum256(s.pre),
		Text:   s.render(),
		Digest: digest(s.argsHashed()),
	}, nil
}

// Preimage appends to dst the bytes of which [Sum] takes the hash as Key. It
// refuses what Sum refuses and then returns nil.
func Preimage(dst []byte, in Input) ([]byte, error) {
	s := getScratch()
	defer s.release()
	if err := s.build(&in); err != nil {
		return nil, err
	}
	return append(dst, s.pre...), nil
}

// Digest computes what [Result] has as Digest from the args alone.
func Digest(args []byte, isJSON bool) ([16]byte, error) {
	s := getScratch()
	defer s.release()
	if err := s.readArgs(args, isJSON); err != nil {
		return [16]byte{}, err
	}
	return digest(s.argsHashed()), nil
}

// Check tells whether [Sum] takes args as JSON.
func Check(args []byte) error {
	s := getScratch()
	defer s.release()
	if err := s.readArgs(args, true); err != nil {
		return err
	}
	return nil
}

func digest(b []byte) [16]byte {
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// Error is an input that was refused.
type Error struct {
	Field string // what was refused: "args", "meta", "Fields", "MetaFields", "By" or "key"
	Value string // the place or the value, at most 100 bytes of printable UTF-8
	Rule  string // what is wrong, and the way out; names of options stand in braces
}

func (e *Error) Error() string {
	return e.Field + " " + e.Value + ": " + e.Rule
}

// scratch is the memory of one call.
type scratch struct {
	json   reader // its out holds the hashed args, then the block of the meta
	argEnd int
	fields []span // the pointers in names, sorted, each once
	names  []byte
	pre    []byte
	text   []byte
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

func getScratch() *scratch { return pool.Get().(*scratch) }

// release gives the memory back, but lets go of what a huge input left.
func (s *scratch) release() {
	const keep = 1 << 20
	s.json.src = nil
	held := cap(s.json.out) + cap(s.json.sorted) + cap(s.json.members)*memberSize + cap(s.names) +
		cap(s.pre) + cap(s.text)
	if held <= keep {
		pool.Put(s)
	}
}

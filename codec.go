package onceq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/onceq/onceq/internal/fingerprint"
)

// Codec encodes args at rest: it encrypts them, or makes them smaller. A
// client that has one ([Config].Codec) encodes the args of every job that it
// enqueues, and of its schedules, after the key is computed: so jobs with
// equal args are still duplicates, however often their codes differ. A worker
// decodes the args before middleware and handlers get them.
//
// All that a store, a list, a receipt or the command has of the args is their
// code ([JobRow.EncodedBy]). Errors about args that do not decode as the type
// of the handler leave out the values. Meta, tags, IDs, results and the
// errors of handlers are not encoded.
//
// Its methods are called by many goroutines at once. They must not keep or
// change the bytes that they get. Their errors are logged, and those of Decode
// kept with the job: they must not repeat the args.
type Codec interface {
	// Name is kept beside the code, for people: "aes-gcm/2026-11", 1 to 128
	// printable bytes. It must not change while a client has the codec. Let
	// it change when the key does: then schedules are encoded anew when they
	// are put again.
	Name() string
	// Encode encodes the args of a job of a kind. An error refuses the enqueue.
	// kind can be bound to the code as associated data: a code is never moved to
	// a job of another kind.
	Encode(ctx context.Context, kind string, args []byte) ([]byte, error)
	// Decode is the reverse of Encode, for all that may be in the store: what
	// was encoded with an earlier key too. An error, or a panic, says that this
	// worker cannot run the job: see [ErrUndecoded].
	Decode(ctx context.Context, kind string, code []byte) ([]byte, error)
}

// ErrUndecoded means that the args of a job are encoded, and the codec of
// this client does not decode them, or there is none. The handler is not
// called, the attempt is not spent, and the job keeps its key and waits, 15
// seconds at first and up to 4 minutes later: another worker may have the
// right key, or this one after its next start.
var ErrUndecoded = errors.New("args are encoded")

// Encoded args are stored as opaque bytes: a mark, the encoding of the args
// that were encoded, the length of the name of the codec, the name, the code.
// A program that knows no codec takes them for bytes, and decodes no JSON.
const (
	codeMark  = "\x00onceq-code\x01"
	codedJSON = 'j'
	codedRaw  = 'b'
)

// coded is what encoded args consist of.
type coded struct {
	by       string // the name of the codec
	encoding string // of the args that were encoded
	code     []byte
}

// readCoded takes stored args apart; false if no codec made them.
func readCoded(args []byte, encoding string) (c coded, ok bool) {
	rest, ok := bytes.CutPrefix(args, []byte(codeMark))
	if !ok || encoding != EncodingBytes || len(rest) < 3 || rest[1] == 0 ||
		len(rest) < 2+int(rest[1]) {
		return c, false
	}
	c.encoding = EncodingBytes
	if rest[0] == codedJSON {
		c.encoding = EncodingJSON
	}
	n := 2 + int(rest[1])
	c.by, c.code = string(rest[2:n]), rest[n:]
	return c, rest[0] == codedJSON || rest[0] == codedRaw
}

// EncodedBy is the name of the codec that encoded the args; "" = none did, or
// they were not read. Encoding is then EncodingBytes, and Args are of no use
// without the codec: see [Client.DecodeArgs].
func (j *JobRow) EncodedBy() string {
	c, _ := readCoded(j.Args, j.Encoding)
	return c.by
}

// encode replaces the args of a row by their code, if the client has a codec.
func (c *Client) encode(ctx context.Context, row *NewRow) (err error) {
	codec := c.config.Codec
	if strings.HasPrefix(row.Queue, guardPrefix) {
		return nil // a claim keeps a digest in place of the args
	}
	if codec == nil {
		if _, ok := readCoded(row.Args, row.Encoding); ok {
			return invalid("args", "", "begin as encoded args do, and this client has no {Config.Codec}: enqueue "+
				"what was encoded, or other bytes")
		}
		return nil
	}
	if len(row.Args) > MaxArgsSize {
		return tooLarge(len(row.Args), MaxArgsSize, "")
	}
	defer codecPanicked(&err)
	code, err := codec.Encode(ctx, row.Kind, row.Args)
	if err != nil {
		return fmt.Errorf("onceq: encode the args of a job of kind %q by %q: %w", row.Kind, c.codecName, err)
	}
	args := make([]byte, 0, len(codeMark)+2+len(c.codecName)+len(code))
	args = append(args, codeMark...)
	if row.Encoding == EncodingJSON {
		args = append(args, codedJSON)
	} else {
		args = append(args, codedRaw)
	}
	args = append(append(append(args, byte(len(c.codecName))), c.codecName...), code...)
	if len(args) > c.maxArgs() {
		return tooLarge(len(args), c.maxArgs(), ", encoded by "+c.codecName)
	}
	row.Args, row.Encoding = args, EncodingBytes
	return nil
}

func tooLarge(size, most int, how string) error {
	return invalid("args", fmt.Sprintf("%d bytes%s", size, how),
		"must be at most %d bytes ({Config.MaxArgs}): keep large data elsewhere and pass a reference", most)
}

// checkCodec asks a codec for its name.
func checkCodec(codec Codec) (name string, err error) {
	if codec == nil {
		return "", nil
	}
	if isNil(codec) {
		return "", invalid("Config.Codec", fmt.Sprintf("%T", codec), "must not be a nil pointer: leave it away")
	}
	defer recovered(&err, "Config.Codec", codec, "Name")
	name = codec.Name()
	return name, checkName("Config.Codec", name)
}

// DecodeArgs returns the job as it was enqueued: with the args that the codec
// of this client decodes, and with their encoding. It returns the job itself
// if its args are not encoded. The error wraps [ErrUndecoded].
func (c *Client) DecodeArgs(ctx context.Context, job *JobRow) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	if job == nil {
		return nil, invalid("job", "nil", "must not be nil")
	}
	if job.EncodedBy() == "" {
		return job, nil
	}
	own := *job
	return &own, c.decode(ctx, &own)
}

// decode replaces the args of a job by what was encoded, if they are encoded.
// Where that fails, they stay.
func (c *Client) decode(ctx context.Context, job *JobRow) error {
	args, ok := readCoded(job.Args, job.Encoding)
	if !ok {
		return nil
	}
	why := "this client has no codec: set Config.Codec (a worker has that of WorkerConfig.Client)"
	if c.config.Codec != nil {
		plain, err := c.decoded(ctx, job.Kind, args.code)
		if err == nil {
			job.Args, job.Encoding = plain, args.encoding
			return nil
		}
		why = fmt.Sprintf("codec %q does not decode them: %s", c.codecName, bound(err.Error(), 500))
	}
	return &undecodedError{fmt.Sprintf("the args of job %q (kind %q) are encoded by %q, and %s", job.ID, job.Kind,
		args.by, why)}
}

func (c *Client) decoded(ctx context.Context, kind string, code []byte) (plain []byte, err error) {
	defer codecPanicked(&err)
	return c.config.Codec.Decode(ctx, kind, code)
}

// codecPanicked, deferred around a codec, makes an error of a panic. It leaves
// out the value, which may repeat the args, unless the runtime made it.
func codecPanicked(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("it panicked: %w", p)
	default:
		*err = fmt.Errorf("it panicked with a value of type %T", p)
	}
}

// undecodedError is the error of args that the codec does not decode.
type undecodedError struct{ text string }

func (e *undecodedError) Error() string { return e.text }

// Is makes errors.Is(err, ErrUndecoded) true.
func (e *undecodedError) Is(target error) bool { return target == ErrUndecoded }

// undecodedRun is the error of a run that did not begin, because of its args. No
// handler can return it.
type undecodedRun struct{ error }

func (e *undecodedRun) Unwrap() error { return e.error }

// undecodedText ends what is recorded of such a run.
const undecodedText = " (the attempt is not spent)"

// undecodedDelay is how long a job waits whose args did not decode: 15s, and
// twice as long after each further run that ended so.
func undecodedDelay(job *JobRow) time.Duration {
	delay := 15 * time.Second
	for i := len(job.Errors) - 1; i >= 0 && len(job.Errors)-i < 5; i-- {
		if !strings.HasSuffix(job.Errors[i].Error, undecodedText) {
			break
		}
		delay *= 2
	}
	return delay
}

// argsDiffer compares the args of an enqueue with those of a job by value.
// Args that do not decode differ.
func (c *Client) argsDiffer(ctx context.Context, row *NewRow, job *JobRow) bool {
	a, errA := c.digest(ctx, &JobRow{Kind: row.Kind, Args: row.Args, Encoding: row.Encoding})
	b, errB := c.digest(ctx, job)
	return errA != nil || errB != nil || a != b
}

func (c *Client) digest(ctx context.Context, job *JobRow) ([16]byte, error) {
	plain := *job
	if err := c.decode(ctx, &plain); err != nil {
		return [16]byte{}, err
	}
	return fingerprint.Digest(plain.Args, plain.Encoding == EncodingJSON)
}

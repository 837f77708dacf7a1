package onceq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// HandleOption says how [Handle] and [HandleResult] read args.
type HandleOption interface{ applyTo(*decoding) }

// Strict makes a run fail whose args have a member that the type of the
// handler does not have. The error names the member. It is an ordinary failure:
// the job is tried again while attempts are left, perhaps by a newer worker
// that knows the member. Without it such members are ignored.
//
// Names are compared as encoding/json does it, without regard to case. A type
// with an UnmarshalJSON of its own decides for itself.
func Strict() HandleOption { return strictOption{} }

type strictOption struct{}

func (strictOption) applyTo(d *decoding) { d.strict = true }

// decoding is how a handler reads args.
type decoding struct {
	typ    reflect.Type // of the args
	strict bool
}

func decodingOf(typ reflect.Type, opts []HandleOption) decoding {
	d := decoding{typ: typ}
	for _, o := range opts {
		if o == nil {
			panic(fmt.Sprintf("onceq: an option of the handler of %v is nil", typ))
		}
		o.applyTo(&d)
	}
	return d
}

// decode reads the args of a job into target.
func (d decoding) decode(ctx context.Context, row *JobRow, target any) error {
	if row.Encoding != EncodingJSON {
		return fmt.Errorf("args of kind %q are opaque bytes, not JSON: this worker decodes them as %v (use "+
			"HandleKind for bytes)", row.Kind, d.typ)
	}
	err := d.unmarshal(row.Args, target)
	if err == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && d.strict {
		return &argsError{fmt.Sprintf("args of kind %q have the member %s, which %v does not have (the handler is "+
			"Strict)", row.Kind, name, d.typ), err}
	}
	left := resultIn(ctx)
	return &argsError{fmt.Sprintf("args of kind %q do not decode as %v: %s", row.Kind, d.typ,
		withoutValues(err, left != nil && left.encoded)), err}
}

func (d decoding) unmarshal(args []byte, target any) error {
	if !d.strict {
		return json.Unmarshal(args, target)
	}
	decoder := json.NewDecoder(bytes.NewReader(args))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more than one value")
	}
	return nil
}

// withoutValues is the text of an error of encoding/json without the number
// that it repeats: values of args are never logged. encoded says that nobody
// is to read any of the args; then the text of an error that the program made
// itself is left out too.
func withoutValues(err error, encoded bool) string {
	switch e := err.(type) {
	case *json.UnmarshalTypeError:
		bare := *e
		bare.Value, _, _ = strings.Cut(e.Value, " ")
		return bare.Error()
	case *json.SyntaxError:
		if !encoded {
			return err.Error()
		}
		return fmt.Sprintf("no valid JSON at byte %d", e.Offset) // the text of the error quotes a character
	}
	if encoded {
		return fmt.Sprintf("an error of type %T, whose text is left out because the args are encoded", err)
	}
	return err.Error()
}

// argsError is the error of args that do not decode as the type of a handler.
type argsError struct {
	text  string
	cause error
}

func (e *argsError) Error() string { return e.text }
func (e *argsError) Unwrap() error { return e.cause }

// Package fingerprint computes the key that says what makes two jobs the
// same, its readable form, and a digest of a job's args.
//
// [Sum] is pure: the same [Input] gives the same [Result] in every process
// and on every machine. JSON is compared by value and bytes as bytes, so
// neither the order of members nor white space nor the spelling of a number
// or string makes a difference, and nothing else is taken for equal.
//
// # Byte format, version 1
//
// The key is the SHA-256 of the pre-image, which [Preimage] returns. The
// pre-image is injective: everything in it is either of fixed size or
// preceded by its length, so no input can imitate another. Test vectors are
// in testdata/vectors.json.
//
// Two notations are used below; ++ joins byte strings.
//
//	u32(n)  n as 4 bytes, big-endian
//	str(s)  u32(length of s in bytes) ++ s
//
// The pre-image is
//
//	"onceq-key-v1"                  12 bytes of ASCII
//	by                              1 byte: 1 kind, 2 queue, 4 args, 8 meta, added up
//	form                            1 byte: 'P' for parts, 'K' for a key of the caller's own
//	str(kind)                       if by has kind
//	str(queue)                      if by has queue
//	str(key)                        if form is 'K'; verbatim
//	block of the args               if by has args
//	block of the meta               if by has meta
//
// and a block is one of
//
//	'J' ++ value                    JSON, the whole of it
//	'B' ++ str(bytes)               args that are not JSON
//	'F' ++ u32(count) ++ fields     JSON, narrowed to some members
//
// Meta that is absent (empty) is the JSON object {}. The args, the meta or
// both can be narrowed, each to fields of its own. They are a set: sorted
// by the bytes of their pointer, without repetition, count being what is
// left. Each is
//
//	str(pointer) ++ 0x00            absent
//	str(pointer) ++ 0x01 ++ value   present
//
// where pointer is an RFC 6901 JSON Pointer. A name that does not begin
// with "/" becomes "/" and the name, with "~" written "~0" and "/" written
// "~1". In an array, a token selects an element only if it is "0" or
// decimal digits without a leading zero, below the length of the array.
//
// A value is
//
//	'n'   't'   'f'                 null, true, false
//	'#' ++ str(number)              a number, as below
//	'"' ++ str(string)              the unescaped string in UTF-8, not normalised
//	'[' ++ str(elements)            the values one after another, in order
//	'{' ++ str(members)             str(name) ++ value one after another, sorted by
//	                                the bytes of the unescaped name
//
// A number is the ASCII text "0" for zero of any sign, else
//
//	["-"] digits "e" exponent
//
// its value being digits times ten to the exponent: digits without leading
// and trailing zeros, exponent a decimal integer of any size without
// leading zeros or "+". So 42 is "42e0", -1.50 is "-15e-1" and 1000 is
// "1e3".
//
// The digest is the first 16 bytes of the SHA-256 of
//
//	"onceq-args-v1" ++ block of the args ('J' or 'B')
//
// # JSON
//
// JSON is read as RFC 8259 has it and refused, with an [*Error] that names
// the place, where its value would be in doubt: a member name that occurs
// twice in an object, invalid UTF-8, half of a surrogate pair, NaN and
// infinities, data after the value, nothing at all, and nesting deeper than
// 64. The cost grows no faster than n log n in the length of the input,
// whatever it holds.
package fingerprint

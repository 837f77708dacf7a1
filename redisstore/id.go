package redisstore

import (
	"strings"

	"github.com/onceq/onceq"
)

var digit = func() (d [256]byte) {
	for i := range d {
		d[i] = 255
	}
	for i := range onceq.IDAlphabet {
		d[onceq.IDAlphabet[i]] = byte(i)
	}
	return d
}()

// made reports whether an ID looks like one that a client made.
func made(id string) bool {
	if len(id) != 26 {
		return false
	}
	for i := range len(id) {
		if digit[id[i]] == 255 {
			return false
		}
	}
	return true
}

// packedSize is the size of a packed ID.
const packedSize = 19

// noID is the stored form of what can be no ID. No field has this name.
const noID = "\xff"

// packID is the stored form of an ID. An ID of the form that clients make
// takes 19 bytes: three characters as they are, a NUL, which no other ID
// contains, and 23 characters of five bits each. Packed IDs sort as the IDs
// do, with one exception: an ID of a caller's own sorts behind the packed
// ones if it begins with the same three characters (these are the same for
// a year). What a caller asks for may be empty or contain a NUL; as it is, it
// could name a field that is no row.
func packID(id string) string {
	if !made(id) {
		if id == "" || strings.Contains(id, "\x00") {
			return noID
		}
		return id
	}
	var b [packedSize]byte
	return string(appendID(b[:0], id))
}

// idSize is the size of the stored form of an ID.
func idSize(id string) int {
	if made(id) {
		return packedSize
	}
	return len(id)
}

// appendID adds the stored form of an ID.
func appendID(to []byte, id string) []byte {
	if !made(id) {
		return append(to, id...)
	}
	var b [packedSize]byte
	copy(b[:], id[:3])
	acc, bits, at := uint32(0), 0, 4
	for i := 3; i < len(id); i++ {
		acc, bits = acc<<5|uint32(digit[id[i]]), bits+5
		if bits >= 8 {
			bits -= 8
			b[at] = byte(acc >> bits)
			at++
		}
	}
	b[at] = byte(acc << (8 - bits))
	return append(to, b[:]...)
}

// unpackID is the reverse of packID.
func unpackID(s string) string {
	if len(s) != packedSize || s[3] != 0 {
		return s
	}
	var id [26]byte
	copy(id[:], s[:3])
	acc, bits, at := uint32(0), 0, 4
	for i := 3; i < len(id); i++ {
		if bits < 5 {
			acc, bits = acc<<8|uint32(s[at]), bits+8
			at++
		}
		bits -= 5
		id[i] = onceq.IDAlphabet[acc>>bits&31]
	}
	return string(id[:])
}

// packBelow is a bound for packed IDs: those of IDs below id are below it.
// "" stays "".
func packBelow(id string) string {
	if id == "" {
		return ""
	}
	bound := []byte(strings.Repeat("0", 26))
	for i := range min(len(id), len(bound)) {
		at := strings.IndexFunc(onceq.IDAlphabet, func(c rune) bool { return byte(c) >= id[i] })
		if at >= 0 {
			bound[i] = onceq.IDAlphabet[at]
			if onceq.IDAlphabet[at] != id[i] {
				return packID(string(bound))
			}
			continue
		}
		// No character is larger than Z, so all that begins like this is
		// below the bound.
		for i--; i >= 0 && bound[i] == 'Z'; i-- {
			bound[i] = '0'
		}
		if i < 0 {
			return strings.Repeat("\xff", 3) + "\x00" + strings.Repeat("\xff", packedSize-4)
		}
		bound[i] = onceq.IDAlphabet[digit[bound[i]]+1]
		return packID(string(bound))
	}
	if len(id) > len(bound) && made(id[:len(bound)]) { // the ID of its first 26 characters is also below
		b := []byte(packID(string(bound)))
		b[len(b)-1] |= 31 // the bits that no ID uses
		return string(b)
	}
	return packID(string(bound))
}

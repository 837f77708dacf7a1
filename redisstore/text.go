package redisstore

// appendCommon adds what the text of a key may share with the rest of its
// row.
func appendCommon(b []byte, kind, queue string, args []byte) []byte {
	b = append(append(append(append(b, "kind="...), kind...), " queue="...), queue...)
	return append(append(b, " args="...), args[:min(len(args), 2048)]...)
}

// shortest is the length of the shortest copy that is worth its four bytes.
const shortest = 8

// compressText writes text as literals and copies from all, as LZ77 does:
// length of the literal (1 byte), the literal, then offset and length of
// the copy (2 bytes each). It may end with a literal. ok is false if the
// result is not shorter than the text.
func compressText(b []byte, text string, all []byte) (_ []byte, ok bool) {
	before := len(b)
	// Mostly both begin alike, and often they are the same.
	lit := same(text, all)
	if lit < shortest {
		lit = 0
	} else {
		b = appendCopy(b, "", 0, lit)
	}
	// Where a group of four bytes occurred last, plus one. Only each fourth
	// group is there: a copy of eight bytes has one of them.
	var at [256]uint16
	hash := func(a, b, c, d byte) uint32 {
		return (uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24) * 2654435761 >> 24
	}
	if len(text)-lit >= shortest {
		for i := lit; i+4 <= len(all); i += 4 {
			at[hash(all[i], all[i+1], all[i+2], all[i+3])] = uint16(i + 1)
		}
	}
	for i := lit; i+4 <= len(text); {
		from := int(at[hash(text[i], text[i+1], text[i+2], text[i+3])]) - 1
		if from < 0 {
			i++
			continue
		}
		n, back := same(text[i:], all[from:]), 0
		for n > 0 && i-back > lit && from > back && text[i-back-1] == all[from-back-1] {
			back++
		}
		if n+back < shortest {
			i++
			continue
		}
		b = appendCopy(b, text[lit:i-back], from-back, n+back)
		i += n
		lit = i
	}
	if lit < len(text) {
		b = appendCopy(b, text[lit:], 0, 0)
		b = b[:len(b)-4]
	}
	return b, len(b)-before < len(text)
}

// same is how many bytes two texts begin with alike.
func same(a string, b []byte) (n int) {
	for most := min(len(a), len(b)); n+16 <= most && a[n:n+16] == string(b[n:n+16]); n += 16 {
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// appendCopy adds a literal and a copy.
func appendCopy(b []byte, lit string, from, n int) []byte {
	for len(lit) > 255 {
		b = append(append(append(b, 255), lit[:255]...), 0, 0, 0, 0)
		lit = lit[255:]
	}
	return append(append(append(b, byte(len(lit))), lit...), byte(from>>8), byte(from), byte(n>>8), byte(n))
}

// expandText is the reverse of compressText.
func expandText(s string, all []byte) (text string, ok bool) {
	var room [512]byte
	b := room[:0]
	r := reader{s: s}
	for r.s != "" && !r.bad {
		if b = append(b, r.name()...); r.s == "" {
			break
		}
		from, n := int(r.num(2)), int(r.num(2))
		if from+n > len(all) {
			return "", false
		}
		b = append(b, all[from:from+n]...)
	}
	return string(b), !r.bad
}

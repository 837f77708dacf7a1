package redisstore

// appendCommon adds what the text of a key may share with the rest of its
// row.
func appendCommon(b []byte, kind, queue string, args []byte) []byte {
	b = append(append(append(append(b, "kind="...), kind...), " queue="...), queue...)
	return append(append(b, " args="...), args[:min(len(args), 2048)]...)
}

// compressText writes text as literals and copies from all, as LZ77 does:
// length of the literal (1 byte), the literal, then offset and length of
// the copy (2 bytes each). It may end with a literal. ok is false if the
// result is not shorter than the text.
func compressText(b []byte, text string, all []byte) (_ []byte, ok bool) {
	before := len(b)
	if text == string(all) {
		return append(b, 0, 0, 0, byte(len(text)>>8), byte(len(text))), true
	}
	const shortest = 8
	if len(all) < shortest || len(text) < shortest {
		return b, false
	}
	var at [512]uint16 // where a group of four bytes occurred last, plus one
	hash := func(a, b, c, d byte) uint32 {
		return (uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24) * 2654435761 >> 23
	}
	for i := 0; i+4 <= len(all); i++ {
		at[hash(all[i], all[i+1], all[i+2], all[i+3])] = uint16(i + 1)
	}
	emit := func(lit string, from, n int) {
		for len(lit) > 255 {
			b = append(append(append(b, 255), lit[:255]...), 0, 0, 0, 0)
			lit = lit[255:]
		}
		b = append(append(append(b, byte(len(lit))), lit...), byte(from>>8), byte(from), byte(n>>8), byte(n))
	}
	lit := 0
	for i := 0; i+4 <= len(text); {
		from := int(at[hash(text[i], text[i+1], text[i+2], text[i+3])]) - 1
		n := 0
		if from >= 0 {
			for i+n < len(text) && from+n < len(all) && text[i+n] == all[from+n] {
				n++
			}
		}
		if n < shortest {
			i++
			continue
		}
		for i > lit && from > 0 && text[i-1] == all[from-1] {
			i, from, n = i-1, from-1, n+1
		}
		emit(text[lit:i], from, n)
		i += n
		lit = i
	}
	if lit < len(text) {
		emit(text[lit:], 0, 0)
		b = b[:len(b)-4]
	}
	return b, len(b)-before < len(text)
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

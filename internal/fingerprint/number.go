package fingerprint

import "strconv"

const notFinite = "NaN and infinities are not JSON; use null or a string"

// number appends the number at r.pos: its tag, its length and its exact
// decimal value as `["-"] digits "e" exponent`, or "0".
func (r *reader) number() *Error {
	start := r.pos
	negative := r.peek() == '-'
	if negative {
		r.pos++
		if r.word("Infinity") || r.word("NaN") {
			return r.fail(start, notFinite)
		}
	}
	var whole, fraction, exponent []byte
	exponentNegative := false
	if whole = r.digits(); len(whole) == 0 {
		return r.unexpected("a digit")
	}
	if whole[0] == '0' && len(whole) > 1 {
		return r.fail(start, "number with a leading zero; drop the zero, or send a string")
	}
	if r.peek() == '.' {
		r.pos++
		if fraction = r.digits(); len(fraction) == 0 {
			return r.unexpected("a digit")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.pos++
		if c := r.peek(); c == '+' || c == '-' {
			exponentNegative = c == '-'
			r.pos++
		}
		if exponent = r.digits(); len(exponent) == 0 {
			return r.unexpected("a digit")
		}
	}

	r.out = append(r.out, tagNumber, 0, 0, 0, 0)
	body := len(r.out)
	r.out = appendNumber(r.out, negative, whole, fraction, exponentNegative, exponent)
	r.setLen(body)
	return nil
}

func (r *reader) digits() []byte {
	from := r.pos
	for r.pos < len(r.src) && '0' <= r.src[r.pos] && r.src[r.pos] <= '9' {
		r.pos++
	}
	return r.src[from:r.pos]
}

func appendNumber(dst []byte, negative bool, whole, fraction []byte, exponentNegative bool, exponent []byte) []byte {
	// Read whole and fraction as one integer, and take the zeros off both ends.
	shift := -int64(len(fraction))
	if whole = trimLeftZeros(whole); len(whole) == 0 {
		fraction = trimLeftZeros(fraction)
	}
	for n := len(fraction); n > 0 && fraction[n-1] == '0'; n-- {
		fraction = fraction[:n-1]
		shift++
	}
	if len(fraction) == 0 {
		for n := len(whole); n > 0 && whole[n-1] == '0'; n-- {
			whole = whole[:n-1]
			shift++
		}
	}
	if len(whole) == 0 && len(fraction) == 0 {
		return append(dst, '0')
	}
	if negative {
		dst = append(dst, '-')
	}
	dst = append(append(append(dst, whole...), fraction...), 'e')
	return appendSum(dst, exponentNegative, trimLeftZeros(exponent), shift)
}

// appendSum appends the decimal integer that is digits (negated if so said)
// plus shift, which is smaller than 1e17 in magnitude. It costs time and memory
// by the number of digits, never by their value.
func appendSum(dst []byte, negative bool, digits []byte, shift int64) []byte {
	if len(digits) <= 17 {
		n := int64(0)
		for _, c := range digits {
			n = n*10 + int64(c-'0')
		}
		if negative {
			n = -n
		}
		return strconv.AppendInt(dst, n+shift, 10)
	}

	// Now digits outweigh shift and so give the sign of the sum.
	if negative {
		dst = append(dst, '-')
		shift = -shift
	}
	dst = append(dst, '0') // for the last carry
	from := len(dst) - 1
	dst = append(dst, digits...)
	for i := len(dst) - 1; shift != 0; i-- {
		d := int64(dst[i]-'0') + shift%10
		shift /= 10
		if d < 0 {
			d += 10
			shift--
		} else if d > 9 {
			d -= 10
			shift++
		}
		dst[i] = byte('0' + d)
	}
	return append(dst[:from], trimLeftZeros(dst[from:])...)
}

func trimLeftZeros(digits []byte) []byte {
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

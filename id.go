package onceq

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// IDAlphabet has the characters of the IDs that clients make: Crockford's
// base 32 (https://www.crockford.com/base32.html). Its order is the order of
// its bytes.
const IDAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idSource makes job IDs of 26 characters: 10 for the time in milliseconds,
// 16 random. The IDs of one source ascend, so jobs that became due in the
// same millisecond run in the order in which they were enqueued.
type idSource struct {
	mu     sync.Mutex
	ms     int64
	random uint64 // the 65 bits before the last three characters, without the top one
}

func (s *idSource) next(now time.Time) string {
	s.mu.Lock()
	if ms := now.UnixMilli(); ms > s.ms {
		s.ms, s.random = ms, rand.Uint64()>>1 // the top bit stays free, so that counting up cannot overflow
	} else {
		s.random += 1 + rand.Uint64N(1<<20)
	}
	ms, random := uint64(s.ms), s.random
	s.mu.Unlock()

	var id [26]byte
	for i := 9; i >= 0; i-- {
		id[i], ms = IDAlphabet[ms&31], ms>>5
	}
	for i := 22; i >= 10; i-- {
		id[i], random = IDAlphabet[random&31], random>>5
	}
	tail := rand.Uint32()
	for i := 23; i < 26; i++ {
		id[i], tail = IDAlphabet[tail&31], tail>>5
	}
	return string(id[:])
}

// timeOfID is the time in the first ten characters of an ID, in
// milliseconds.
func timeOfID(id string) (ms int64) {
	for _, c := range strings.ToUpper(id[:10]) {
		ms = ms<<5 | int64(strings.IndexRune(IDAlphabet, c))
	}
	return ms
}

// nonceOf is the nonce of one item of a call: the items of a batch must not
// be taken for repeats of each other.
func nonceOf(call [16]byte, index int) [16]byte {
	binary.LittleEndian.PutUint32(call[:], binary.LittleEndian.Uint32(call[:])^uint32(index))
	return call
}

func newNonce() (n [16]byte) {
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		n[i], n[i+8] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	return n
}

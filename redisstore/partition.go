package redisstore

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/onceq/onceq"
)

// A partition is four keys of fixed names under one hash tag, so in one
// slot. A job lies in the partition of its key.
type partition struct {
	keys  []string // jobs, keys, ix, meta
	args  []any    // the same, as arguments of a call
	known profiles
	away  atomic.Int64 // Unix milliseconds since which no fetch has reached it; 0 = fetches reach it
}

func (p *partition) meta() string { return p.keys[3] }

// notes is a key of the first partition alone, and of note.lua and notes.lua:
// what was noted of enqueues and runs.
func (p *partition) notes() string { return strings.TrimSuffix(p.meta(), "meta") + "notes" }

// slots is how many slots a cluster has.
const slots = 16384

// partitions names the partitions of a namespace. Their tags are chosen to
// lie evenly over the slots. The first is the same for every count, so that
// the count can be read there.
func partitions(namespace string, count int) []*partition {
	all := make([]*partition, count)
	first := 0
	for p := range all {
		tag := fmt.Sprintf("%s:%d", namespace, p)
		if p == 0 {
			first = slot(tag)
		}
		for n := 1; (slot(tag)-first+slots)%slots*count/slots != p; n++ {
			tag = fmt.Sprintf("%s:%d.%d", namespace, p, n)
		}
		prefix := "{" + tag + "}:"
		all[p] = &partition{keys: []string{prefix + "jobs", prefix + "keys", prefix + "ix", prefix + "meta"}}
		for _, key := range all[p].keys {
			all[p].args = append(all[p].args, key)
		}
	}
	return all
}

// slot is the hash slot of a tag: CRC16 (XMODEM) modulo 16384.
func slot(tag string) int {
	crc := uint16(0)
	for _, c := range []byte(tag) {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// ofID is the partition of a job. It depends on the ID alone: the last
// three characters of an ID that a client made name it, any other ID is
// hashed.
func (s *Store) ofID(id string) int {
	n := len(s.parts)
	if n == 1 {
		return 0
	}
	if made(id) {
		return tail(id) % n
	}
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(id) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int(mix(h) % uint64(n))
}

func tail(id string) int {
	return int(digit[id[23]])<<10 | int(digit[id[24]])<<5 | int(digit[id[25]])
}

// ofKey is the partition of a key.
func (s *Store) ofKey(k *onceq.Key) int {
	n := len(s.parts)
	if n == 1 {
		return 0
	}
	h := uint64(0)
	for i := 0; i < len(k); i += 8 {
		h = mix(h ^ binary.LittleEndian.Uint64(k[i:]))
	}
	return int(h % uint64(n))
}

// Place changes at most the last three characters of an ID, so that it
// falls into the partition of the key. It is for IDs that clients make. An
// ID of a caller's own is used as it is, and with a key only if both fall
// into the same partition.
func (s *Store) Place(id string, key *onceq.Key) string {
	n := len(s.parts)
	if n == 1 || key == nil {
		return id
	}
	p := s.ofKey(key)
	if made(id) {
		v := tail(id)
		if v += p - v%n; v >= 1<<15 {
			v -= n
		}
		return id[:23] + string([]byte{onceq.IDAlphabet[v>>10&31], onceq.IDAlphabet[v>>5&31], onceq.IDAlphabet[v&31]})
	}
	for v := 0; v < 1<<15 && s.ofID(id) != p; v++ {
		suffix := []byte{onceq.IDAlphabet[v>>10&31], onceq.IDAlphabet[v>>5&31], onceq.IDAlphabet[v&31]}
		id = id[:max(0, len(id)-3)] + string(suffix[max(0, 3-len(id)):])
	}
	return id
}

// where is the partition of a new row. It refuses an ID of a caller's own
// together with a key that lies elsewhere: the one thing that a partitioned
// store cannot do.
func (s *Store) where(r *onceq.NewRow) (int, error) {
	p := s.ofID(r.ID)
	if r.Claim == nil {
		return p, nil
	}
	if of := s.ofKey(&r.Claim.Key); of != p {
		return 0, &onceq.InvalidError{Field: "ID", Value: bound(r.ID),
			Rule: "lies in partition " + strconv.Itoa(p) + " of " + strconv.Itoa(len(s.parts)) +
				" and the job's key in partition " + strconv.Itoa(of) +
				": on a Redis store with partitions a job that is unique by key gets its ID from the client" +
				" (leave ID away; or leave Unique away, the ID is unique by itself; or open the namespace with " +
				"Partitions: 1)"}
	}
	return p, nil
}

func bound(s string) string { return s[:min(len(s), 100)] }

package redisstore

import (
	"encoding/binary"
	"sync"
)

// spelled is a profile as arguments of a script.
type spelled struct {
	text string // its content
	ref  string
	args [3]any // its field in meta, its content, the field of its count in jobs
}

// spelling keeps the arguments that are the same in most calls, so that a call
// does not make them anew.
type spelling struct {
	mu       sync.Mutex
	queues   map[string]any
	profiles map[string]*spelled
}

// spellings is how many are kept at most. Then all are dropped.
const spellings = 1000

// queue is the field of a queue in meta.
func (s *spelling) queue(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.queues[name]
	if !ok {
		if s.queues == nil || len(s.queues) == spellings {
			s.queues = map[string]any{}
		}
		q = "q" + name
		s.queues[name] = q
	}
	return q
}

func (s *spelling) profile(content []byte) *spelled {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.profiles[string(content)]
	if p == nil {
		if s.profiles == nil || len(s.profiles) == spellings {
			s.profiles = map[string]*spelled{}
		}
		ref := string(binary.BigEndian.AppendUint32(nil, refOf(content)))
		p = &spelled{text: string(content), ref: ref}
		p.args = [3]any{"P" + ref, p.text, "\x00\x00\x00N" + ref}
		s.profiles[p.text] = p
	}
	return p
}

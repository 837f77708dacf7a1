package redisstore

import (
	"context"
	"hash/fnv"
	"sync"
)

// profiles are those that were read. A profile's name is made of its content, so it never stands for another, even when a server was
// flushed meanwhile.
type profiles struct{ byRef sync.Map }

type profileRef struct {
	part int
	ref  string
}

// refOf names a profile.
func refOf(content []byte) uint32 {
	h := fnv.New64a()
	_, _ = h.Write(content)
	return uint32(mix(h.Sum64()))
}

// profilesOf reads profiles of a partition. One that this process has not met is asked for once.
func (s *Store) profilesOf(ctx context.Context, part int) func(ref string) (*profile, error) {
	return func(ref string) (*profile, error) {
		if len(ref) != 4 {
			return readProfile(ref)
		}
		name := profileRef{part, ref}
		if p, ok := s.known.byRef.Load(name); ok {
			return p.(*profile), nil
		}
		t := &trip{script: luaProfile, part: part, args: []any{ref}}
		if err := s.do(ctx, t); err != nil {
			return nil, err
		}
		p, err := readProfile(text(t.reply[0]))
		if err != nil {
			return nil, err
		}
		s.known.byRef.Store(name, p)
		return p, nil
	}
}

// readTriple reads a job as scripts hand it out: {row, head, errors}, or {ID, row, head, errors} where id is "". nil where there is none.
func (s *Store) readTriple(ctx context.Context, part int, id string, v any, now int64) (*job, error) {
	l := list(v)
	if len(l) == 4 {
		id, l = text(l[0]), l[1:]
	}
	if len(l) != 3 || text(l[0]) == "" {
		return nil, nil
	}
	return readJob(id, text(l[0]), text(l[1]), text(l[2]), now, s.profilesOf(ctx, part))
}

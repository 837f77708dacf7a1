package redisstore

import (
	"context"
	"hash/fnv"
	"sync"
)

// profiles caches the profiles that were read. The name of a profile is a
// hash of its content, so it never means another one, even if the server
// was flushed meanwhile.
type profiles struct{ byRef sync.Map }

type profileRef struct {
	part int
	ref  string
}

// refOf is the name of a profile.
func refOf(content []byte) uint32 {
	h := fnv.New64a()
	_, _ = h.Write(content)
	return uint32(mix(h.Sum64()))
}

// profilesOf reads profiles of a partition. It asks the server once for
// each profile.
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

// readTriple reads a job as scripts return it: {row, head, errors}, or {ID,
// row, head, errors} if id is "". The result is nil if there is no job.
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

package redisstore

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
)

// profiles caches the profiles that were read of a partition. The name of a
// profile is a hash of its content, but one that was dropped may leave its
// name to another. Then the generation changes, and what was read before
// does not count.
type profiles struct {
	mu    sync.Mutex
	gen   string
	byRef map[string]*profile
}

// find returns a profile that was read in this generation; nil if it was
// not.
func (p *profiles) find(gen, ref string) *profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen != gen {
		return nil
	}
	return p.byRef[ref]
}

func (p *profiles) keep(gen, ref string, read *profile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen != gen || p.byRef == nil {
		p.gen, p.byRef = gen, map[string]*profile{}
	}
	p.byRef[ref] = read
}

// refOf is the name of a profile.
func refOf(content []byte) uint32 {
	h := fnv.New64a()
	_, _ = h.Write(content)
	return uint32(mix(h.Sum64()))
}

// profilesOf reads the profiles that a trip has brought. It asks the server
// once for each profile.
func (s *Store) profilesOf(ctx context.Context, of *trip) func(ref string) (*profile, error) {
	return func(ref string) (*profile, error) {
		if len(ref) != 4 {
			return readProfile(ref)
		}
		known := &s.parts[of.part].known
		if p := known.find(of.gen, ref); p != nil {
			return p, nil
		}
		t := &trip{script: luaProfile, part: of.part, args: []any{ref}}
		if err := s.do(ctx, t); err != nil {
			return nil, err
		}
		if t.gen != of.gen {
			return nil, errors.New("redisstore: a profile was dropped meanwhile: try again")
		}
		p, err := readProfile(text(t.reply[0]))
		if err != nil {
			return nil, err
		}
		known.keep(of.gen, ref, p)
		return p, nil
	}
}

// readTriple reads a job as scripts return it: {row, head, errors}, or {ID,
// row, head, errors} if id is "". The result is nil if there is no job.
func (s *Store) readTriple(ctx context.Context, of *trip, id string, v any) (*job, error) {
	l := list(v)
	if len(l) == 4 {
		id, l = text(l[0]), l[1:]
	}
	if len(l) != 3 || text(l[0]) == "" && text(l[1]) == "" {
		return nil, nil
	}
	return readJob(id, text(l[0]), text(l[1]), text(l[2]), of.now, s.profilesOf(ctx, of))
}

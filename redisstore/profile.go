package redisstore

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
)

// profiles are those that were read of a partition. The name of a profile is made of its content, but
// one that was dropped may leave its name to another: then the generation is another too, and what was
// read before does not count.
type profiles struct {
	mu    sync.Mutex
	gen   string
	byRef map[string]*profile
}

// find is a profile that was read in this generation, nil where none was.
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

// refOf names a profile.
func refOf(content []byte) uint32 {
	h := fnv.New64a()
	_, _ = h.Write(content)
	return uint32(mix(h.Sum64()))
}

// profilesOf reads the profiles of what a trip has brought. One that this process has not met is asked
// for once.
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

// readTriple reads a job as scripts hand it out: {row, head, errors}, or {ID, row, head, errors} where
// id is "". nil where there is none.
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

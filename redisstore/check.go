package redisstore

import (
	"context"
	"fmt"
)

// Check looks whether rows and indexes go together in every partition, a stretch at a time, each in one step; jobs come and go meanwhile.
func (s *Store) Check(ctx context.Context) ([]string, error) {
	var lines []string
	for p := range s.parts {
		t := s.initTrip(p)
		if err := s.do(ctx, t); err != nil {
			return nil, err
		}
		if err := s.checkInit(t); err != nil {
			lines = append(lines, err.Error())
		}
		for _, what := range []string{"jobs", "keys", "ix"} {
			from := ""
			if what != "ix" {
				from = "0"
			}
			for {
				t := &trip{script: luaCheck, part: p, args: []any{what, from, perScript}}
				if err := s.do(ctx, t); err != nil {
					return nil, err
				}
				for _, l := range list(t.reply[1]) {
					lines = append(lines, fmt.Sprintf("partition %d of %d: %s", p, len(s.parts), text(l)))
				}
				if from = text(t.reply[0]); from == "" {
					break
				}
			}
		}
	}
	return lines, nil
}

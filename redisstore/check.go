package redisstore

import (
	"context"
	"fmt"

	"github.com/onceq/onceq"
)

// Check checks that rows and indexes agree in every partition. It goes
// through a stretch at a time, each in one step, while jobs come and go.
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
		more, err := s.checkPart(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, l := range more {
			lines = append(lines, fmt.Sprintf("partition %d of %d: %s", p, len(s.parts), l))
		}
	}
	return lines, nil
}

// checkPart checks a partition.
func (s *Store) checkPart(ctx context.Context, p int) (lines []string, err error) {
	var last []string
	for _, what := range []string{"keys", "ix", "meta"} {
		more, _, err := s.checkAll(ctx, p, what)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	// How many jobs a profile has is counted while jobs come and go: what
	// is wrong is wrong each time.
	for range 3 {
		_, before, err := s.checkAll(ctx, p, "meta")
		if err != nil {
			return nil, err
		}
		more, jobs, err := s.checkAll(ctx, p, "jobs")
		if err != nil {
			return nil, err
		}
		_, after, err := s.checkAll(ctx, p, "meta")
		if err != nil {
			return nil, err
		}
		wrong := more
		for ref, n := range jobs {
			if _, known := before[ref]; !known && after[ref] == n {
				continue
			}
			if before[ref] != n && before[ref] == after[ref] {
				wrong = append(wrong, fmt.Sprintf("profile %x is counted to have %d jobs and has %d", ref,
					after[ref], n))
			}
		}
		for ref, n := range before {
			if jobs[ref] == 0 && n != 0 && after[ref] == n {
				wrong = append(wrong, fmt.Sprintf("profile %x is counted to have %d jobs and has none", ref, n))
			}
		}
		if len(wrong) == 0 {
			return lines, nil
		}
		if len(more) > 0 {
			return append(lines, wrong...), nil
		}
		last = wrong
	}
	return append(lines, last...), nil
}

// checkAll runs check.lua over all of one of a partition's keys. It returns
// what is wrong, and by profile how many jobs have it.
func (s *Store) checkAll(ctx context.Context, p int, what string) (lines []string,
	profiles map[string]int64, err error) {
	profiles = map[string]int64{}
	from, limit := "0", int64(8) // it grows while rows are small: their args are read too
	if what == "ix" {
		from = ""
	}
	for {
		t := &trip{script: luaCheck, part: p, args: []any{what, from, limit}}
		if err := s.do(ctx, t); err != nil {
			return nil, nil, err
		}
		for _, l := range list(t.reply[1]) {
			lines = append(lines, text(l))
		}
		for counts := list(t.reply[3]); len(counts) > 1; counts = counts[2:] {
			profiles[text(counts[0])] += number(counts[1])
		}
		if bytes := number(t.reply[2]); bytes > onceq.MaxPageBytes {
			limit = max(1, limit*onceq.MaxPageBytes/bytes)
		} else {
			limit = min(2*limit, perScript)
		}
		if from = text(t.reply[0]); from == "" {
			return lines, profiles, nil
		}
	}
}

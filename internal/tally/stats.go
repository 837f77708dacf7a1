package tally

import (
	"cmp"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// fine is the longest span that is told by minutes.
const fine = 3 * time.Hour

// span is the letter of the counts that a request needs, and the first and the
// last instant, both the beginning of an entry.
func span(now int64, r *onceq.StatsRequest) (letter byte, from, to int64) {
	long := cmp.Or(r.Span, time.Hour)
	letter = 'm'
	if long > fine {
		letter = 'h'
	}
	s := step[letter]
	to = now / s * s
	n := (long.Milliseconds() + s - 1) / s
	return letter, to - (n-1)*s, to
}

// Wanted are the entries that Read needs.
func Wanted(now int64, r onceq.StatsRequest) (names []string) {
	letter, from, to := span(now, &r)
	for at := from; at <= to; at += step[letter] {
		names = append(names, name(letter, at))
	}
	if r.Hot > 0 {
		for at := now - keeps['k']; at <= now; at += hour {
			names = append(names, name('k', at))
		}
	}
	if r.Seen > 0 {
		for at := now - keeps['s']; at <= now; at += minute {
			names = append(names, name('s', at))
		}
	}
	if r.Terms {
		names = append(names, termsName)
	}
	return names
}

// Read makes the answer of entries.
func Read(now int64, r onceq.StatsRequest, have map[string]string) (s onceq.Stats, err error) {
	letter, from, to := span(now, &r)
	s.Now, s.From, s.Step = onceq.Instant(now), onceq.Instant(from), time.Duration(step[letter])*time.Millisecond
	if err := readSeries(&s, &r, letter, from, to, have); err != nil {
		return s, err
	}
	match := func(queue, kind string) bool {
		return (r.Queue == "" || r.Queue == queue) && (r.Kind == "" || r.Kind == kind)
	}
	var hot []hotKey
	for at := now - keeps['k']; r.Hot > 0 && at <= now; at += hour {
		var some []hotKey
		if err := read(have, name('k', at), &some); err != nil {
			return s, err
		}
		for _, k := range some {
			if r.Kind == "" || r.Kind == k.Kind {
				hot = addHot(hot, k)
			}
		}
	}
	sortHot(hot)
	for _, k := range hot[:min(len(hot), max(r.Hot, 0))] {
		s.Hot = append(s.Hot, onceq.HotKey{Key: k.Key, Kind: k.Kind, Text: k.Text, Holder: k.Holder, Count: k.Count,
			LastAt: onceq.Instant(k.At)})
	}
	for at := now - keeps['s']; r.Seen > 0 && at <= now; at += minute {
		var some []sighting
		if err := read(have, name('s', at), &some); err != nil {
			return s, err
		}
		for _, k := range some {
			if match(k.Queue, k.Kind) {
				s.Seen = append(s.Seen, k.told())
			}
		}
	}
	slices.SortStableFunc(s.Seen, func(x, y onceq.Sighting) int { return y.At.Compare(x.At) })
	s.Seen = s.Seen[:min(len(s.Seen), max(r.Seen, 0))]
	var terms []kindTerms
	if r.Terms {
		err = read(have, termsName, &terms)
	}
	for _, k := range terms {
		if match(k.Queue, k.Kind) {
			s.Terms = append(s.Terms, onceq.KindTerms{Queue: k.Queue, Kind: k.Kind, Terms: k.Terms,
				FirstAt: onceq.Instant(k.First), LastAt: onceq.Instant(k.Last)})
		}
	}
	slices.SortFunc(s.Terms, func(x, y onceq.KindTerms) int {
		return cmp.Or(cmp.Compare(x.Queue, y.Queue), cmp.Compare(x.Kind, y.Kind), x.FirstAt.Compare(y.FirstAt))
	})
	return s, err
}

// readSeries reads the counts of a span.
func readSeries(s *onceq.Stats, r *onceq.StatsRequest, letter byte, from, to int64, have map[string]string) error {
	points := int((to-from)/step[letter]) + 1
	series := map[[2]string][]onceq.Count{}
	for i := range points {
		var pairs []pair
		if err := read(have, name(letter, from+int64(i)*step[letter]), &pairs); err != nil {
			return err
		}
		for _, p := range pairs {
			if r.Queue != "" && r.Queue != p.Queue || r.Kind != "" && r.Kind != p.Kind {
				continue
			}
			of := [2]string{p.Queue, p.Kind}
			if series[of] == nil {
				series[of] = make([]onceq.Count, points)
			}
			series[of][i] = unpack(p.N)
		}
	}
	for of, counts := range series {
		s.Series = append(s.Series, onceq.Series{Queue: of[0], Kind: of[1], Points: counts})
	}
	slices.SortFunc(s.Series, func(x, y onceq.Series) int {
		return cmp.Or(cmp.Compare(x.Queue, y.Queue), cmp.Compare(x.Kind, y.Kind))
	})
	return nil
}

func (k *sighting) told() onceq.Sighting {
	return onceq.Sighting{At: onceq.Instant(k.At), Queue: k.Queue, Kind: k.Kind, From: k.From, Outcome: k.Outcome,
		Conflict: onceq.Conflict{By: k.By, Key: k.Key, Text: k.Text, Holder: k.Holder, State: k.State, Gone: k.Gone,
			ArgsDiffer: k.Differ}}
}

// Package tally keeps what processes note of enqueues and runs, as a few small
// texts with names. A store reads some of them, lets this package add a note,
// and writes those that changed, all in one step. The same rules so hold on
// every store.
//
// The names are a letter and a number of minutes or hours since 1970:
//
//	m  counts of a minute, kept for 3 hours
//	h  counts of an hour, kept for 8 days
//	k  hot keys of an hour, kept for a day
//	s  sightings of a minute, kept for 100 minutes
//	n  the nonces of notes of a minute, kept for 10 minutes
//	t  the terms of kinds, with the number 0: they leave by themselves
package tally

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/onceq/onceq"
)

const (
	minute = int64(time.Minute / time.Millisecond)
	hour   = 60 * minute
	day    = 24 * hour
)

// keeps is for how long an entry of each letter is kept, and step the length
// of time that one is for; in milliseconds.
var (
	keeps = map[byte]int64{'m': 3 * hour, 'h': 8 * day, 'k': day, 's': 100 * minute, 'n': 10 * minute, 't': 8 * day}
	step  = map[byte]int64{'m': minute, 'h': hour, 'k': hour, 's': minute, 'n': minute}
)

// How much an entry holds.
const (
	mostHot   = 50
	mostSeen  = onceq.MaxSeen
	mostTerms = 200
	mostText  = 200 // bytes of a readable key
)

// Entry is a text to be written, and when it may be dropped, in milliseconds.
type Entry struct {
	Value string // JSON
	Ends  int64  // milliseconds of the store's clock
}

func name(letter byte, at int64) string {
	return string(letter) + strconv.FormatInt(at/step[letter], 10)
}

const termsName = "t0"

// Names are the entries that Add needs.
func Names(now int64) []string {
	names := []string{termsName, name('m', now), name('h', now), name('k', now), name('s', now)}
	for at := now - keeps['n']; at <= now; at += minute {
		names = append(names, name('n', at))
	}
	return names
}

// Add adds a note to the entries that are there. It returns those that
// changed: none if the note was added before.
func Add(now int64, n onceq.Notes, have map[string]string) (map[string]Entry, error) {
	nonce := hex.EncodeToString(n.Nonce[:])
	var today []string
	for at := now - keeps['n']; at <= now; at += minute {
		var nonces []string
		if err := read(have, name('n', at), &nonces); err != nil {
			return nil, err
		}
		if slices.Contains(nonces, nonce) {
			return nil, nil
		}
		today = nonces
	}
	a := adding{now: now, have: have, changed: map[string]Entry{}}
	a.write('n', name('n', now), append(today, nonce))
	if len(n.Tallies) > 0 {
		tallies := n.Tallies[:min(len(n.Tallies), onceq.MaxTallies)]
		a.counts('m', tallies)
		a.counts('h', tallies)
		a.terms(tallies)
	}
	if len(n.Hot) > 0 {
		a.hot(n.Hot[:min(len(n.Hot), onceq.MaxHot)])
	}
	if len(n.Seen) > 0 {
		a.seen(n.Seen[:min(len(n.Seen), onceq.MaxSeen)])
	}
	return a.changed, a.err
}

// adding is an Add that is under way.
type adding struct {
	now     int64
	have    map[string]string
	changed map[string]Entry
	err     error
}

// read reads an entry; one that is not there leaves into as it is.
func read(have map[string]string, name string, into any) error {
	text := have[name]
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("stats: entry %s: %w", name, err)
	}
	return nil
}

func (a *adding) read(name string, into any) { a.err = cmp.Or(a.err, read(a.have, name, into)) }

func (a *adding) write(letter byte, name string, v any) {
	text, err := json.Marshal(v)
	a.err = cmp.Or(a.err, err)
	a.changed[name] = Entry{string(text), a.now + keeps[letter] + step[letter]}
}

// pair is the counts of a queue and kind, as they are kept: all numbers in one
// list.
type pair struct {
	Queue string  `json:"q"`
	Kind  string  `json:"k"`
	N     []int64 `json:"n"`
}

func pack(c *onceq.Count) []int64 {
	n := slices.Concat(c.Enqueued[:], c.Ended[:], []int64{c.WaitMS, c.RunMS}, c.RunClass[:])
	for len(n) > 0 && n[len(n)-1] == 0 {
		n = n[:len(n)-1]
	}
	return n
}

func unpack(n []int64) (c onceq.Count) {
	all := make([]int64, len(c.Enqueued)+len(c.Ended)+2+len(c.RunClass))
	copy(all, n)
	all = all[copy(c.Enqueued[:], all):]
	all = all[copy(c.Ended[:], all):]
	c.WaitMS, c.RunMS = all[0], all[1]
	copy(c.RunClass[:], all[2:])
	return c
}

// counts adds to the counts of the minute or the hour.
func (a *adding) counts(letter byte, tallies []onceq.Tally) {
	name := name(letter, a.now)
	var pairs []pair
	a.read(name, &pairs)
	for i := range tallies {
		pairs = addPair(pairs, tallies[i].Queue, tallies[i].Kind, &tallies[i].Count)
	}
	a.write(letter, name, pairs)
}

func addPair(pairs []pair, queue, kind string, more *onceq.Count) []pair {
	at := slices.IndexFunc(pairs, func(p pair) bool { return p.Queue == queue && p.Kind == kind })
	switch {
	case at >= 0:
		c := unpack(pairs[at].N)
		c.Add(more)
		pairs[at].N = pack(&c)
		return pairs
	case len(pairs) < onceq.MaxTallies-1 || queue == onceq.OtherPairs:
		return append(pairs, pair{queue, kind, pack(more)})
	}
	return addPair(pairs, onceq.OtherPairs, onceq.OtherPairs, more)
}

// kindTerms is the terms of a kind, as they are kept.
type kindTerms struct {
	Queue string `json:"q"`
	Kind  string `json:"k"`
	Terms string `json:"t"`
	First int64  `json:"first"`
	Last  int64  `json:"last"`
}

// terms notes new terms, and old ones once an hour.
func (a *adding) terms(tallies []onceq.Tally) {
	var all []kindTerms
	a.read(termsName, &all)
	changed := false
	for _, t := range tallies {
		if t.Terms == "" {
			continue
		}
		at := slices.IndexFunc(all, func(k kindTerms) bool {
			return k.Queue == t.Queue && k.Kind == t.Kind && k.Terms == t.Terms
		})
		switch {
		case at < 0:
			all = append(all, kindTerms{t.Queue, t.Kind, t.Terms, a.now, a.now})
		case a.now-all[at].Last >= hour:
			all[at].Last = a.now
		default:
			continue
		}
		changed = true
	}
	if !changed {
		return
	}
	all = slices.DeleteFunc(all, func(k kindTerms) bool { return a.now-k.Last > keeps['t'] })
	slices.SortStableFunc(all, func(x, y kindTerms) int { return cmp.Compare(y.Last, x.Last) })
	a.write('t', termsName, all[:min(len(all), mostTerms)])
}

// hotKey is a hot key, as it is kept.
type hotKey struct {
	Key    onceq.Key `json:"key"`
	Kind   string    `json:"k"`
	Text   string    `json:"text"`
	Holder string    `json:"holder"`
	Count  int64     `json:"n"`
	At     int64     `json:"at"`
}

func (a *adding) hot(keys []onceq.HotKey) {
	name := name('k', a.now)
	var all []hotKey
	a.read(name, &all)
	for _, k := range keys {
		all = addHot(all, hotKey{k.Key, k.Kind, cut(k.Text, mostText), k.Holder, k.Count, a.now})
	}
	sortHot(all)
	a.write('k', name, all[:min(len(all), mostHot)])
}

func addHot(all []hotKey, k hotKey) []hotKey {
	at := slices.IndexFunc(all, func(h hotKey) bool { return h.Key == k.Key })
	if at < 0 {
		return append(all, k)
	}
	k.Count += all[at].Count
	if k.At < all[at].At {
		k.At, k.Holder = all[at].At, all[at].Holder
	}
	all[at] = k
	return all
}

func sortHot(all []hotKey) {
	slices.SortStableFunc(all, func(x, y hotKey) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(y.At, x.At))
	})
}

// sighting is a sighting, as it is kept.
type sighting struct {
	At      int64         `json:"at"`
	Queue   string        `json:"q"`
	Kind    string        `json:"k"`
	From    string        `json:"from"`
	Outcome onceq.Outcome `json:"outcome"`
	By      string        `json:"by"`
	Key     onceq.Key     `json:"key"`
	Text    string        `json:"text"`
	Holder  string        `json:"holder"`
	State   onceq.State   `json:"state"`
	Gone    bool          `json:"gone,omitempty"`
	Differ  bool          `json:"differ,omitempty"`
}

func (a *adding) seen(some []onceq.Sighting) {
	name := name('s', a.now)
	var all []sighting
	a.read(name, &all)
	for _, s := range some {
		c := s.Conflict
		all = append(all, sighting{At: a.now - s.Ago.Milliseconds(), Queue: s.Queue, Kind: s.Kind, From: s.From,
			Outcome: s.Outcome, By: c.By, Key: c.Key, Text: cut(c.Text, mostText), Holder: c.Holder, State: c.State,
			Gone: c.Gone, Differ: c.ArgsDiffer})
	}
	slices.SortStableFunc(all, func(x, y sighting) int { return cmp.Compare(y.At, x.At) })
	a.write('s', name, all[:min(len(all), mostSeen)])
}

// cut bounds a text, at the beginning of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// Lasts is for how long entries are kept, by the letter that their names begin
// with, and how much each of them is for, both in milliseconds: for a store
// that prunes by name.
func Lasts(letter byte) (keep, of int64) { return keeps[letter], step[letter] }

// Letters are all letters.
const Letters = "mhksnt"

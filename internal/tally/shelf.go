package tally

import (
	"errors"

	"github.com/onceq/onceq"
)

// Kept is an entry as it was read. Version 0 = it is not there.
type Kept struct {
	Value   string // "" = it is not there
	Version int64  // another one at each change
}

// Change is what is to be done to an entry: it is written if all are as they
// were read. An Entry without a value stays as it is.
type Change struct {
	Name string // of the entry
	Was  int64  // the version that was read
	Entry
}

// errBusy is the end of a note that always met others.
var errBusy = errors.New("stats: others note at the same time, again and again")

// Note adds a note by reading entries and writing them if they are as they were
// read; if not, it begins again.
func Note(now int64, n onceq.Notes, read func(names []string) (map[string]Kept, error),
	write func([]Change) (written bool, err error)) error {
	names := Names(now)
	for range 50 {
		kept, err := read(names)
		if err != nil {
			return err
		}
		changed, err := Add(now, n, values(kept))
		if err != nil || len(changed) == 0 {
			return err
		}
		var changes []Change
		for _, name := range names {
			changes = append(changes, Change{name, kept[name].Version, changed[name]})
		}
		if written, err := write(changes); written || err != nil {
			return err
		}
	}
	return errBusy
}

// Stats answers a request by reading entries.
func Stats(now int64, r onceq.StatsRequest, read func(names []string) (map[string]Kept, error)) (onceq.Stats, error) {
	kept, err := read(Wanted(now, r))
	if err != nil {
		return onceq.Stats{}, err
	}
	return Read(now, r, values(kept))
}

func values(kept map[string]Kept) map[string]string {
	values := make(map[string]string, len(kept))
	for name, k := range kept {
		values[name] = k.Value
	}
	return values
}

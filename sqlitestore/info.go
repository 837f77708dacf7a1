package sqlitestore

import (
	"context"
	"fmt"

	"github.com/onceq/onceq"
)

var sqlInfo = load("info")

// info is Traits.Info.
func (s *Store) info(ctx context.Context) (info onceq.StoreInfo, err error) {
	var synced int64
	err = s.readAll(ctx, "info", func(st *step) error {
		return st.each(sqlInfo, 3, func(v []any) error {
			info.Server, info.Schema = "SQLite "+text(v[0]), fmt.Sprintf("step %d", integer(v[1]))
			synced = integer(v[2])
			return nil
		})
	})
	if err != nil {
		return onceq.StoreInfo{}, err
	}
	info.Warnings = risks(s.private != "" || s.file == nil, synced)
	return info, nil
}

// risks are the warnings of a store. It is pure.
func risks(inMemory bool, synced int64) []string {
	switch {
	case inMemory:
		return []string{"The store is in memory: all jobs and keys are gone when the process ends. Open a file."}
	case synced < 2: // FULL
		return []string{"PRAGMA synchronous is below FULL: when the machine fails, the jobs that were acknowledged " +
			"last can be lost, and their keys can be taken again. Set Config.Synchronous to Full."}
	}
	return nil
}

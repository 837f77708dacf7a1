package sqlitestore

import (
	"context"
	"fmt"
	"os"
)

var sqlSize = load("size")

// growth reports which part of the file is not needed.
func (s *Store) growth(ctx context.Context) (lines []string, err error) {
	if s.file == nil {
		return nil, nil // in memory
	}
	var pages, free, size int64
	err = s.readAll(ctx, "size", func(st *step) error {
		return st.each(sqlSize, 3, func(v []any) error {
			pages, free, size = integer(v[0]), integer(v[1]), integer(v[2])
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	wal := int64(0)
	if info, err := os.Stat(s.file.path + "-wal"); err == nil {
		wal = info.Size()
	}
	return grown(pages*size, free*size, wal), nil
}

// From these sizes on it is worth a line.
const (
	muchFree = 16 << 20 // and at least a quarter of the file
	muchLog  = 64 << 20 // and at least as much as the file
)

// grown reports what is larger than it need be. All sizes are bytes. It is
// pure.
func grown(file, free, wal int64) (lines []string) {
	const mib = 1 << 20
	if free >= muchFree && free >= file/4 {
		lines = append(lines, fmt.Sprintf("%d MiB of the %d MiB of the file are free: new jobs use them; onceq "+
			"compact gives "+
			"them back to the disk", free/mib, file/mib))
	}
	if wal >= muchLog && wal >= file {
		lines = append(lines, fmt.Sprintf("the write-ahead log (-wal) has %d MiB beside a file of %d MiB: it grows "+
			"while "+
			"somebody reads without an end, such as a transaction or a tool that stays open", wal/mib, file/mib))
	}
	return lines
}

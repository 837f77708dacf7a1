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
	var size fileSize
	err = s.readAll(ctx, "size", func(st *step) (err error) {
		size, err = st.fileSize()
		return err
	})
	if err != nil {
		return nil, err
	}
	return grown(size.all, size.free, s.logSize()), nil
}

// fileSize is what the database has, in bytes.
type fileSize struct{ all, free int64 }

func (f fileSize) live() int64 { return f.all - f.free }

func (c *conn) fileSize() (f fileSize, err error) {
	err = c.each(sqlSize, 3, func(v []any) error {
		page := integer(v[2])
		f = fileSize{integer(v[0]) * page, integer(v[1]) * page}
		return nil
	})
	return f, err
}

// logSize is the size of the log; 0 where there is none, or where it cannot be
// told.
func (s *Store) logSize() int64 {
	if s.file == nil {
		return 0
	}
	info, err := os.Stat(s.file.path + "-wal")
	if err != nil {
		return 0
	}
	return info.Size()
}

// From these sizes on it is worth a line.
const (
	muchFree = 16 << 20    // and at least a quarter of the file
	muchLog  = 2 * longLog // and at least as much as the file
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

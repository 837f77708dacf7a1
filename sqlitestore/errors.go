package sqlitestore

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/onceq/onceq"
)

// wrap adds what was tried to an error.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlitestore: %s: %w", what, err)
}

// The primary result codes of SQLite that matter here:
// https://sqlite.org/rescode.html
const (
	codeBusy     = 5
	codeLocked   = 6
	codeIO       = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeCantOpen = 14
	codeReadOnly = 8
	codeNotADB   = 26

	// Extended codes.
	codeBusySnapshot   = codeBusy | 2<<8
	codeReadOnlyFolder = codeReadOnly | 6<<8
)

// extended is the extended result code of an error of SQLite, if the driver
// tells it; else 0.
func extended(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return 0
}

// code is the primary result code of an error of SQLite; 0 for any other
// error. Drivers agree on the texts more than on the types.
func code(err error) int {
	if err == nil {
		return 0
	}
	if c := extended(err); c != 0 {
		return c & 0xff
	}
	msg := err.Error()
	for _, m := range []struct {
		text string
		code int
	}{
		{"database is locked", codeBusy}, {"table is locked", codeLocked}, {"disk is full", codeFull},
		{"disk I/O error", codeIO},
		{"malformed", codeCorrupt}, {"file is not a database", codeNotADB}, {"readonly database", codeReadOnly},
		{"unable to open database", codeCantOpen},
	} {
		if strings.Contains(msg, m.text) {
			return m.code
		}
	}
	return 0
}

func busy(err error) bool {
	c := code(err)
	return (c == codeBusy || c == codeLocked) && !errors.Is(err, onceq.ErrUncertain)
}

// broken reports whether a connection must not be used again.
func broken(err error) bool {
	return err != nil && (errors.Is(err, sql.ErrConnDone) || errors.Is(err, onceq.ErrUncertain) || code(err) == codeIO)
}

// uncertain says what a failed COMMIT means. Without room for the whole
// transaction, or without the lock, nothing was committed. But if the disk
// failed, the transaction may be complete in the log and come back when the
// file is recovered.
func uncertain(err error) error {
	switch code(err) {
	case codeBusy, codeLocked, codeFull:
		return err
	}
	return fmt.Errorf("commit: %w: %w", onceq.ErrUncertain, err)
}

func errOrphan(k *heldKey) error {
	return fmt.Errorf("key %s is held by a job that is not there (see Check)", k.Name)
}

// errFolder says that the files that belong to a database cannot be made.
func errFolder(cause error) error {
	return fmt.Errorf("it is %w: this user may make no files in its folder, and a database in use has some beside it: "+
		"give the user the right, or work on a copy (%w)", ErrReadOnly, cause)
}

// why says of an error of the file that the file was moved, if it was.
func (s *Store) why(err error) error {
	switch code(err) {
	case codeIO, codeCorrupt, codeNotADB, codeCantOpen, codeReadOnly:
		if moved := s.file.there(); moved != nil {
			return fmt.Errorf("%w (%w)", moved, err)
		}
	}
	return err
}

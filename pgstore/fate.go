package pgstore

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// fate says what an error means for the statement that got it.
type fate uint8

const (
	final    fate = iota // nothing happened, and trying again would not help
	clash                // nothing happened: others were in the way
	stopped              // nothing happened: the statement was stopped, or the server says so of a lock timeout
	snapshot             // nothing happened: the statement ran above READ COMMITTED
	away                 // nothing happened: the server cannot be reached, or is not ready
	readOnly             // nothing happened: a standby, or a setting that forbids writes
	lost                 // the answer was lost: it may have happened
)

// unsent is an error before a statement was sent: nothing happened.
type unsent struct{ error }

func (e *unsent) Unwrap() error { return e.error }

// garbled is the error of an answer that could not be read: the step has
// happened.
type garbled struct{ error }

func (e *garbled) Unwrap() error { return e.error }

func fateOf(err error) fate {
	var before *unsent
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &before):
		return fateOfConnect(before.error)
	case errors.As(err, &pg):
		return fateOfAnswer(pg)
	case !pgconn.SafeToRetry(err):
		return lost
	case isNetwork(err):
		return away
	}
	return final // pgx refuses to send it, for instance because it is too large
}

// fateOfAnswer is the fate after an answer of the server to a statement.
func fateOfAnswer(err *pgconn.PgError) fate {
	switch err.Code {
	case "55P03", "40P01", "40001", "OQ001", "23505":
		return clash
	case "OQ002":
		return snapshot
	case "57014": // a lock timeout may end like this too, see docs/design.md
		return stopped
	case "25006":
		return readOnly
	case "57P05": // the connection was idle for too long, so no statement ran on it
		return away
	}
	if err.Severity == "FATAL" || err.Severity == "PANIC" || strings.HasPrefix(err.Code, "57P") ||
		strings.HasPrefix(err.Code, "08") {
		return lost // it may come after the commit
	}
	return final
}

// fateOfConnect is the fate after an error that kept a statement from being
// sent. A URL may name several servers, and a name may have several
// addresses: each has an error then.
func fateOfConnect(err error) fate {
	f := final
	for _, e := range leaves(err) {
		switch connectFate(e) {
		case away:
			f = away
		case final:
			var pg *pgconn.PgError
			if errors.As(e, &pg) {
				return final // a wrong password or name: another server would say the same
			}
		}
	}
	return f
}

func connectFate(err error) fate {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		switch pg.Code {
		case "57P03", "57P01", "57P02", "57P05", "53300": // starting up, shutting down, too many connections
			return away
		}
		return final
	case err.Error() == "closed pool": // puddle.ErrClosedPool: its owner closed it
		return final
	case isNetwork(err):
		return away
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection),
		// a failover is under way
		errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return away
	}
	return final
}

// isNetwork reports whether an error comes from the network, or from a
// context that has ended.
func isNetwork(err error) bool {
	var network net.Error
	var number syscall.Errno
	return errors.As(err, &network) || errors.As(err, &number) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// leaves are the errors that were joined into one.
func leaves(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var all []error
			for _, part := range joined.Unwrap() {
				all = append(all, leaves(part)...)
			}
			return all
		}
	}
	return []error{err}
}

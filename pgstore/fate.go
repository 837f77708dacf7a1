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

// fate says what an error means for the statement that met it.
type fate uint8

const (
	final    fate = iota // nothing happened, and it would happen again
	clash                // nothing happened: others were in the way
	stopped              // nothing happened: the server was told to stop the statement, or takes a lock timeout for that
	snapshot             // nothing happened: the statement ran above READ COMMITTED
	away                 // nothing happened: the server cannot be reached, or is not ready
	readOnly             // nothing happened: a standby, or a setting that forbids writes
	lost                 // the answer was lost: it may have happened
)

// unsent is a failure before a statement was sent: nothing happened.
type unsent struct{ error }

func (e *unsent) Unwrap() error { return e.error }

// garbled is an answer that could not be read: what was asked for has happened.
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
	return final // pgx refuses to send it: it is too large, say
}

// hasCode says that an error is the server's, with this code.
func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

// fateOfAnswer is for what the server said to a statement.
func fateOfAnswer(err *pgconn.PgError) fate {
	switch err.Code {
	case "55P03", "40P01", "40001", "OQ001", "23505":
		return clash
	case "OQ002":
		return snapshot
	case "57014": // a lock that is granted as its timeout strikes, before the next wait: the server forgets why it was to stop
		return stopped
	case "25006":
		return readOnly
	case "57P05": // the connection had been idle for too long, so that no statement ran on it
		return away
	}
	if err.Severity == "FATAL" || err.Severity == "PANIC" || strings.HasPrefix(err.Code, "57P") || strings.HasPrefix(err.Code, "08") {
		return lost // it may come after the commit
	}
	return final
}

// fateOfConnect is for what kept a statement from being sent. A URL may name several servers, and a
// name may have several addresses: then there is an error of each.
func fateOfConnect(err error) fate {
	f := final
	for _, e := range leaves(err) {
		switch connectFate(e) {
		case away:
			f = away
		case final:
			var pg *pgconn.PgError
			if errors.As(e, &pg) {
				return final // another server would say the same: a password, a name
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
	case err.Error() == "closed pool": // by its owner: puddle.ErrClosedPool
		return final
	case isNetwork(err):
		return away
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection),
		errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection): // a failover is under way
		return away
	}
	return final
}

// isNetwork says that an error comes from the network, or from a context that has ended.
func isNetwork(err error) bool {
	var network net.Error
	var number syscall.Errno
	return errors.As(err, &network) || errors.As(err, &number) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// leaves are the errors that were joined in one.
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

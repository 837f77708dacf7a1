package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// definite is an error of a call that did not happen, and would not by
// trying again.
type definite string

func (d definite) Error() string { return string(d) }

// errSetUp says that a partition is not set up, or no longer; errMoving
// that it is being brought to another form.
var (
	errSetUp  = errors.New("the partition is not set up")
	errMoving = errors.New("the data is brought to a new form: try again soon")
)

// definite reports whether nothing happened: the call was never written to
// a connection, or the server refused it. A script checks first and writes
// last, so no error comes after its first write.
func (t *trip) definite() bool {
	if t.err == nil {
		return true
	}
	var said redis.Error
	var d definite
	switch {
	case errors.Is(t.err, errUnacknowledged):
		return false
	case t.err == errSetUp, t.err == errMoving, errors.As(t.err, &d), errors.As(t.err, &said):
		return true
	}
	return !t.wire.sent.Load()
}

// passing are the answers of a server that will do it later.
var passing = []string{"LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED", "ASK",
	"ERR max number of clients"}

// passes reports whether trying again may help, given that nothing happened.
func passes(err error) bool {
	var said redis.Error
	var name *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var d definite
	switch {
	case err == nil, err == errSetUp, errors.Is(err, redis.ErrClosed), errors.As(err, &d):
		return false
	case errors.As(err, &name), errors.As(err, &header):
		return false
	case !errors.As(err, &said):
		return true
	}
	for _, prefix := range passing {
		if redis.HasErrorPrefix(said, prefix) {
			return true
		}
	}
	return strings.Contains(err.Error(), "-READONLY ") // what 6.2 answers from inside a script
}

// transient reports whether nothing happened and trying again may help.
func (t *trip) transient() bool { return t.err != nil && t.definite() && passes(t.err) }

// better is the reason to give for some tries that failed: that of the last
// one, unless it is only that time was over. That try may have been cut short.
func better(reason, err error) error {
	if reason == nil {
		return err
	}
	var timeout net.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() {
		return reason
	}
	return err
}

// afterEnd adds to an error that ctx has ended, if it has.
func afterEnd(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}

// uncertain marks the error of a step that was done in part.
func uncertain(err error) error {
	if errors.Is(err, onceq.ErrUncertain) {
		return err
	}
	return fmt.Errorf("%w (%w: part of it was done)", err, onceq.ErrUncertain)
}

// advise adds the name of the server, without its password, and what to do,
// to an error about the connection.
func (s *Store) advise(err error) error {
	if what := advice(err, strings.HasPrefix(s.address, "rediss")); what != "" {
		return fmt.Errorf("%s: %w: %s", s.address, err, what)
	}
	return err
}

// advice is what to do about an error; "" if the error says so itself.
// secure says that TLS is used.
func advice(err error, secure bool) string {
	var said redis.Error
	if errors.As(err, &said) {
		return adviceOn(said.Error())
	}
	var dns *net.DNSError
	var header tls.RecordHeaderError
	var name *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var timeout net.Error
	switch {
	case errors.As(err, &header):
		return "what answers there does not speak TLS: is it redis:// in place of rediss://, or another port?"
	case errors.As(err, &name), errors.As(err, &hostname):
		return "its certificate is not trusted here: install its CA, or open the store with New and a client with a " +
			"TLSConfig of yours"
	case errors.As(err, &dns):
		return "is the host's name right?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is the server up, and are host and port right?"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return "is the path of the socket right, and may this user write to it?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "it closes connections: is it Redis, and does the port want TLS (rediss://)?"
	case strings.Contains(err.Error(), "can't parse"), strings.Contains(err.Error(), "invalid reply"):
		return "what answers there is not Redis: is the port right?"
	case strings.Contains(err.Error(), "sentinels specified in configuration are unreachable"):
		return "are the Sentinels up, and is the name of the master right?"
	case errors.Is(err, redis.ErrPoolTimeout):
		return "all connections of the client are in use: make its PoolSize larger"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if secure {
			return "it does not answer in time: is it up, and does the port speak TLS (else redis:// in place of " +
				"rediss://)?"
		}
		return "it does not answer in time: is it up, is a firewall in between, does it swap?"
	}
	return ""
}

// adviceOn is what to do about an answer of the server.
func adviceOn(said string) string {
	for _, a := range []struct{ part, what string }{
		{"WRONGPASS", "user or password is wrong: redis://user:password@host, each URL-encoded"},
		{"invalid password", "the password is wrong: redis://:password@host, URL-encoded"},
		{"NOAUTH", "it asks for a password: redis://user:password@host"},
		{"without any password configured", "it has no password: leave the password out"},
		{"NOPERM", "the user lacks a right: docs/stores.md lists those that are needed"},
		{"can't run this command", "the user lacks a right: docs/stores.md lists those that are needed"},
		{"DB index is out of range", "it has no database of this number: see `databases` in its configuration"},
		{"READONLY", "it is a replica: name the master, or its Sentinels"},
		{"MASTERDOWN", "it is a replica that has lost its master: name the master, or its Sentinels"},
		{"OOM", "its memory is full: raise maxmemory, delete finished jobs, or let workers work off what waits"},
		{"MISCONF", "it cannot write its files: look at its log and disk"},
		{"LOADING", "it is starting: try again later"},
		{"max number of clients", "it has too many connections: raise its maxclients"},
		{"cluster support disabled", "it is not a cluster: name it as redis://"},
		{"CLUSTERDOWN", "the cluster is down: look at `cluster info`"},
	} {
		if strings.Contains(said, a.part) {
			return a.what
		}
	}
	return ""
}

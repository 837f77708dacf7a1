package pgstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// problem is an error together with what to do about it.
type problem struct {
	text string
	err  error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.err }

// explain adds to an error what to do about it. It names the server without
// the password.
func (s *Store) explain(err error) error {
	return explain(err, s.pool.Config().ConnConfig, s.config.Namespace)
}

func explain(err error, config *pgx.ConnConfig, namespace string) error {
	var said *problem
	var connect *pgconn.ConnectError
	var silent silence
	var pg *pgconn.PgError
	advice := ""
	switch {
	case errors.As(err, &said):
		return err
	case errors.As(err, &connect), errors.As(err, &silent):
		return &problem{fmt.Sprintf("no connection to %s: %s", serverName(config), connectText(err, config)), err}
	case errors.As(err, &pg):
		advice = answerAdvice(pg, config, namespace)
	}
	if advice == "" {
		return err
	}
	return &problem{fmt.Sprintf("%s: %s", pg.Error(), advice), err}
}

// connectText says each thing that was wrong once, and what to do about it.
func connectText(err error, config *pgx.ConnConfig) string {
	var said []string
	for _, e := range leaves(err) {
		text, advice := cause(e), connectAdvice(e, config)
		if advice != "" {
			text += ": " + advice
		}
		if !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return strings.Join(said, "; ")
}

// cause is the part of an error that says something.
func cause(err error) string {
	var pg *pgconn.PgError
	var op *net.OpError
	switch {
	case errors.As(err, &pg):
		return pg.Error()
	case errors.As(err, &op):
		return op.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

func connectAdvice(err error, config *pgx.ConnConfig) string {
	var pg *pgconn.PgError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pg):
		return loginAdvice(pg, config)
	case errors.As(err, &dns):
		return "is the name of the host right?"
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &record):
		return "see sslmode and sslrootcert in the URL"
	case strings.Contains(err.Error(), "refused TLS"):
		return "the server has no TLS: sslmode=disable in the URL does without"
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return "name the primary too"
	case isNetwork(err):
		return "is the server running, and are host and port right?"
	}
	return ""
}

// loginAdvice is what to do about an answer of the server to a login.
func loginAdvice(err *pgconn.PgError, config *pgx.ConnConfig) string {
	switch err.Code {
	case "28P01":
		if config.Password == "" {
			return "no password was given: put it in the URL, in PGPASSWORD or in ~/.pgpass"
		}
		return "is the password right? In a URL its special characters are written as %40 for @, %3A for :, %2F for " +
			"/ and so on"
	case "28000":
		return fmt.Sprintf("is the name of the user right, and does pg_hba.conf let %s in?", quote(config.User))
	case "3D000":
		return fmt.Sprintf("create it (createdb %s), or name another one", quote(config.Database))
	case "42501":
		return fmt.Sprintf("grant connect on database %s to %s;", quote(config.Database), quote(config.User))
	case "53300":
		return "other programs have all connections: raise max_connections there, or lower pool_max_conns here"
	}
	return ""
}

// answerAdvice is what to do about an answer of the server to a statement.
func answerAdvice(err *pgconn.PgError, config *pgx.ConnConfig, namespace string) string {
	switch err.Code {
	case "3F000", "42P01", "42883", "42704":
		return fmt.Sprintf("is the schema %s up to date? Run `onceq migrate`, or pgstore.Migrate", quote(namespace))
	case "26000", "42P05", "08P01":
		return "behind a pooler in transaction mode set Config.ExecMode to pgx.QueryExecModeExec, or " +
			"default_query_exec_mode=exec in the URL"
	case "42501":
		if strings.Contains(err.Message, "for database") {
			return fmt.Sprintf("grant create on database %s to %s; or create schema %s authorization %s;",
				quote(config.Database), quote(config.User), quote(namespace), quote(config.User))
		}
		return fmt.Sprintf("%s needs all rights on the schema %s and what is in it", quote(config.User),
			quote(namespace))
	case "25006":
		return "a standby takes no writes: name the primary; where it is no standby: " +
			setting(config, "default_transaction_read_only", "off")
	case "57014":
		if strings.Contains(err.Message, "statement timeout") {
			return setting(config, "statement_timeout", "'30s'")
		}
	}
	return ""
}

// setting is the statement that gives the role another setting.
func setting(config *pgx.ConnConfig, name, value string) string {
	return fmt.Sprintf("alter role %s set %s = %s;", quote(config.User), name, value)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// serverName is the URL of a store without the password and parameters.
func serverName(c *pgx.ConnConfig) string {
	var hosts []string
	add := func(host string, port uint16) {
		if strings.HasPrefix(host, "/") { // it is a socket
			host = url.PathEscape(host)
		}
		if h := net.JoinHostPort(host, strconv.Itoa(int(port))); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	user := ""
	if c.User != "" {
		user = url.User(c.User).String() + "@"
	}
	return "postgres://" + user + strings.Join(hosts, ",") + "/" + url.PathEscape(c.Database)
}

package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
)

// No setting of a role, a database or a server decides anything here. Most
// have no effect on what the store sends, reads and runs; this file deals
// with the others. A store cannot just set what it needs when it connects:
// the connections of New belong to the caller, and behind a pooler a
// setting would reach whoever comes next.

// fits returns the setting of a connection that is in the way, before
// anything is sent.
func (s *Store) fits(conn *pgx.Conn) error {
	status := conn.PgConn().ParameterStatus
	if s.config.ExecMode == pgx.QueryExecModeSimpleProtocol && status("standard_conforming_strings") != "on" {
		return &onceq.InvalidError{Field: "standard_conforming_strings", Value: status("standard_conforming_strings"),
			Rule: "must be on for pgx.QueryExecModeSimpleProtocol: " +
				setting(conn.Config(), "standard_conforming_strings", "on") + " or put it in the URL"}
	}
	if !inUTF8(conn) {
		return &onceq.InvalidError{Field: "client_encoding", Value: status("client_encoding"),
			Rule: fmt.Sprintf("must be UTF8: alter role %s reset client_encoding; or put client_encoding=UTF8 in the "+
				"URL", quote(conn.Config().User))}
	}
	return nil
}

// inUTF8 reports whether text is stored as it is sent. If the server's own
// encoding is another one, texts are stored byte for byte.
func inUTF8(conn *pgx.Conn) bool {
	status := conn.PgConn().ParameterStatus
	switch status("client_encoding") {
	case "UTF8", status("server_encoding"), "SQL_ASCII", "":
		return true
	}
	return false
}

// speakUTF8 sets the encoding of connections that Open makes. Poolers keep
// track of this setting.
func speakUTF8(ctx context.Context, conn *pgx.Conn) error {
	if inUTF8(conn) {
		return nil
	}
	_, err := conn.Exec(ctx, "set client_encoding = 'UTF8'", pgx.QueryExecModeSimpleProtocol)
	return err
}

// goExplicit makes every later statement run in a transaction that states
// its isolation, because the default of the role, the database or the
// server is another.
func (s *Store) goExplicit() {
	if s.explicit.CompareAndSwap(false, true) {
		s.config.Logger.Warn("onceq: isolation above read committed",
			"hint", "each step takes three round trips; this line makes it one", "line",
			setting(s.pool.Config().ConnConfig, "default_transaction_isolation", "'read committed'"))
	}
}

// whyReadOnly tells a standby, which may become the primary soon, from a
// setting, which stays. A server that is no standby and has no such setting
// has become the primary since it refused.
func (s *Store) whyReadOnly(ctx context.Context, err error) (fate, error) {
	standby := true
	asked := s.query(ctx, "select pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'off'",
		func(r *record) { standby = r.bool() })
	config := s.pool.Config().ConnConfig
	if asked != nil || standby {
		return away, &problem{fmt.Sprintf("%s is a standby and takes no writes: name the primary, or all servers and "+
			"target_session_attrs=read-write", serverName(config)), err}
	}
	return final, &problem{fmt.Sprintf("default_transaction_read_only is on at %s: %s", serverName(config),
		setting(config, "default_transaction_read_only", "off")), err}
}

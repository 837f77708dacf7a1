package pgstore

import (
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// parseURL reads the URL of a store, or libpq's "host=… user=…". No error
// has the password in it, or a part of one: what cannot be read is not
// repeated, because nobody can tell which part of it is the password.
func parseURL(text string) (*pgxpool.Config, error) {
	_, behind, isURL := strings.Cut(text, "://")
	at, err := url.Parse(text)
	if isURL && (err != nil || straySign(at, behind)) {
		return nil, errors.New("the URL is not well-formed. It is postgres://user:password@host:port/database; " +
			"in the password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25")
	}
	config, err := pgxpool.ParseConfig(text)
	if err == nil {
		return config, nil
	}
	if !isURL {
		return nil, errors.New("it is neither a URL, postgres://user:password@host:port/database, nor host=… user=… " +
			"password='…' dbname=…")
	}
	// the part after the URL, in which pgx hides only what looks like a
	// password
	_, reason, found := cutLast(err.Error(), "`: ")
	var parse *pgconn.ParseConfigError
	if password, _ := at.User.Password(); !found || !errors.As(err, &parse) || password != "" &&
		strings.Contains(reason, password) {
		reason = "a parameter of it has a value that cannot be"
	}
	return nil, errors.New("the URL of " + hideUser(at) + ": " + reason)
}

// straySign reports an @ where none belongs. This happens when a password
// contains a sign that ends the part of the URL in which it is.
func straySign(at *url.URL, behind string) bool {
	if at.User != nil || at.Port() == "" {
		authority, _, _ := strings.Cut(behind, "/")
		return strings.Count(authority, "@") > 1
	}
	name, _, _ := strings.Cut(at.RawQuery, "=")
	return strings.Contains(at.EscapedPath()+at.EscapedFragment()+name, "@")
}

func hideUser(at *url.URL) string { return at.Scheme + "://" + at.Host + at.EscapedPath() }

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

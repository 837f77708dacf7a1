// Package storeurl opens a store from a URL, for commands and configuration
// files. It links every store: a program that always uses the same store is
// smaller if it imports only the package of that store.
package storeurl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	neturl "net/url"
	"os"
	"regexp"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/pgstore"
	"github.com/onceq/onceq/redisstore"
	"github.com/onceq/onceq/sqlitestore"
)

// scheme is one kind of store.
type scheme struct {
	forms []string // how its URLs look, for messages
	open  func(ctx context.Context, url string, existing bool) (onceq.Store, error)
	file  func(url string) (path string, ok bool) // the file of a URL; nil = stores of this scheme are not files
}

// schemes has all that Open knows, by the text before the colon.
var schemes = map[string]scheme{
	"sqlite": {
		forms: []string{"sqlite:PATH", "sqlite::memory:"},
		open:  openSQLite,
		file:  sqliteFile,
	},
	"postgres":        {forms: []string{"postgres://…"}, open: openPostgres},
	"postgresql":      {open: openPostgres},
	"redis":           {forms: []string{"redis://…"}, open: openRedis},
	"rediss":          {forms: []string{"rediss://…"}, open: openRedis},
	"unix":            {forms: []string{"unix://…"}, open: openRedis},
	"redis+sentinel":  {forms: []string{"redis+sentinel://h1,h2/master/db"}, open: openRedis},
	"rediss+sentinel": {open: openRedis},
	"redis+cluster":   {forms: []string{"redis+cluster://h1,h2"}, open: openRedis},
	"rediss+cluster":  {open: openRedis},
}

// order is the order of schemes in messages.
var order = []string{"sqlite", "postgres", "redis", "rediss", "unix", "redis+sentinel", "redis+cluster"}

// Open opens the store that url names, with the default configuration of
// its package. The caller closes it.
//
//	sqlite:PATH   sqlite:///absolute/path   sqlite::memory:
//	postgres://user@host/database   postgresql://…
//	redis://host:6379/0   unix:///path/to/socket
//	redis+sentinel://h1,h2/master/db   redis+cluster://h1,h2
//	rediss… in place of redis… for TLS
//
// All but SQLite take ?namespace=NAME, which is the Namespace of the
// store's Config, and the query parameters of their drivers (for pgx,
// default_query_exec_mode=exec behind pgbouncer in transaction mode).
func Open(ctx context.Context, url string) (onceq.Store, error) {
	s, err := parse(url)
	if err != nil {
		return nil, err
	}
	return s.connect(ctx, url, false)
}

// connect opens a store. Its errors have no secret of the URL.
func (s scheme) connect(ctx context.Context, url string, existing bool) (onceq.Store, error) {
	if s.file == nil {
		if _, err := split(url); err != nil {
			return nil, err
		}
	}
	store, err := s.open(ctx, url, existing)
	if err != nil {
		return nil, Failure(url, err)
	}
	return store, nil
}

// OpenExisting is [Open] for a command that only looks: if the file or the
// schema does not exist, or is old, it makes none and fails. (Redis needs
// nothing that could be missing.)
func OpenExisting(ctx context.Context, url string) (onceq.Store, error) {
	s, err := parse(url)
	if err != nil {
		return nil, err
	}
	path, err := Creates(url)
	switch {
	case err != nil:
		return nil, err
	case path != "":
		return nil, fmt.Errorf("there is no store at %s yet", path)
	}
	return s.connect(ctx, url, true)
}

// Creates returns the file that Open would make because it does not exist;
// "" if it exists, or the store is not a file. A command that only reads
// asks first, so that a mistyped path is an error and not an empty store.
func Creates(url string) (path string, err error) {
	s, err := parse(url)
	if err != nil || s.file == nil {
		return "", err
	}
	path, ok := s.file(url)
	if !ok {
		return "", nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return "", nil // Open reports other errors
}

// File returns the path of the file that has the store; "" if the store is
// not a file.
func File(url string) string {
	if s, err := parse(url); err == nil && s.file != nil {
		if path, ok := s.file(url); ok {
			return path
		}
	}
	return ""
}

func parse(url string) (scheme, error) {
	name, rest, found := strings.Cut(url, ":")
	if s, ok := schemes[name]; found && ok {
		return s, nil
	}
	switch {
	case url == "":
		return scheme{}, fmt.Errorf("the store URL is empty: say one of %s", accepted())
	case strings.HasPrefix(rest, "//") && name != "" && strings.Trim(name,
		"abcdefghijklmnopqrstuvwxyz0123456789+") == "":
		return scheme{}, fmt.Errorf("store scheme %q is not supported: say one of %s", name, accepted())
	case strings.ContainsAny(url, "@=?") || strings.Contains(url, "//"): // there may be a password in it
		return scheme{}, fmt.Errorf("the store URL has no scheme that is known: say one of %s (it is not repeated "+
			"here, since a password may be in it)", accepted())
	case !found || strings.ContainsAny(name, `/\.`):
		return scheme{}, fmt.Errorf("store %q has no scheme: for a SQLite file say sqlite:%s (accepted: %s)", url,
			url, accepted())
	}
	return scheme{}, fmt.Errorf("store scheme %q is not supported: say one of %s", name, accepted())
}

func accepted() string {
	var forms []string
	for _, name := range order {
		forms = append(forms, schemes[name].forms...)
	}
	return strings.Join(forms, ", ")
}

func openSQLite(_ context.Context, url string, _ bool) (onceq.Store, error) {
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	store, err := sqlitestore.Open(path, nil)
	if err != nil {
		return nil, err // not a typed nil
	}
	return store, nil
}

func openPostgres(ctx context.Context, url string, existing bool) (onceq.Store, error) {
	url, namespace, err := CutNamespace(url)
	if err != nil {
		return nil, err
	}
	store, err := pgstore.Open(ctx, url, &pgstore.Config{Namespace: namespace, NoMigrate: existing})
	if err != nil {
		return nil, err
	}
	return store, nil
}

func openRedis(ctx context.Context, url string, _ bool) (onceq.Store, error) {
	url, namespace, err := CutNamespace(url)
	if err != nil {
		return nil, err
	}
	store, err := redisstore.Open(ctx, url, &redisstore.Config{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// CutNamespace removes namespace=NAME from the query of a URL; "" = there
// is none. The rest is as it was.
func CutNamespace(url string) (rest, namespace string, err error) {
	base, query, found := strings.Cut(url, "?")
	if !found {
		return url, "", nil
	}
	query, fragment, _ := strings.Cut(query, "#")
	var kept []string
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "namespace" {
			kept = append(kept, pair)
			continue
		}
		switch namespace, err = neturl.QueryUnescape(value); {
		case err != nil:
			return "", "", &onceq.InvalidError{Field: "namespace of the store URL", Value: value,
				Rule: "must be URL-encoded"}
		case namespace == "":
			return "", "", &onceq.InvalidError{Field: "namespace of the store URL",
				Rule: "is empty: say namespace=NAME, or leave it away"}
		}
	}
	if len(kept) > 0 {
		base += "?" + strings.Join(kept, "&")
	}
	if fragment != "" {
		base += "#" + fragment
	}
	return base, namespace, nil
}

func sqliteFile(url string) (string, bool) {
	path, err := sqlitePath(url)
	return path, err == nil && path != ":memory:"
}

// driverOption finds what other programs write behind the path of a SQLite
// file. Any other ? belongs to the path.
var driverOption = regexp.MustCompile(`\?(?:.*&)?((?:mode|cache|vfs|immutable|nolock|psow|namespace|_[a-z_]+)=)`)

// sqlitePath reads sqlite:PATH, and sqlite:///abs/path as other tools write
// it. Nothing in the path is unescaped or split off, so it can be any file
// name.
func sqlitePath(url string) (string, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			return "", fmt.Errorf("the store URL names a host, and a SQLite store is a file: say sqlite:PATH or " +
				"sqlite:///absolute/path")
		}
		path = rest
	}
	if m := driverOption.FindStringSubmatch(path); m != nil { // other drivers take it from the URL
		return "", fmt.Errorf("a SQLite store has no options in its URL, and %q is one: leave away the ? and what "+
			"follows it", m[1])
	}
	if path == "" {
		return "", errors.New("the store URL names no file: say sqlite:PATH, or sqlite::memory: for none")
	}
	return path, nil
}

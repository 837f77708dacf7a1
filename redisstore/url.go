package redisstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/onceq/onceq"
)

// forms are the URLs that Open takes, for messages.
const forms = "redis://[user:password@]host:port/db, rediss://…, unix:///path?db=0, " +
	"redis+sentinel://h1:26379,h2:26379/master/db, redis+cluster://h1:6379,h2:6379"

// Open connects to the server (or servers) that the URL names:
//
//	redis://[user:password@]host[:port][/db]       rediss:// for TLS
//	unix:///path/to/redis.sock[?db=1]
//	redis+sentinel://[user:password@]h1[:26379],h2,…/master[/db]      rediss+sentinel:// for TLS
//	redis+cluster://[user:password@]h1[:6379],h2,…                    rediss+cluster:// for TLS
//
// The first and the second take the options of go-redis as a query. Close
// closes the connections.
func Open(ctx context.Context, rawURL string, config *Config) (*Store, error) {
	client, err := dial(rawURL)
	if err != nil {
		return nil, err
	}
	dials := newDials()
	dials.attach(client)
	s, err := newStore(ctx, client, config, redacted(rawURL))
	if err != nil {
		_ = client.Close()
		dials.close()
		return nil, err
	}
	s.owned, s.dials = true, dials
	return s, nil
}

func dial(rawURL string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch {
	case !ok:
	case scheme == "redis" || scheme == "rediss" || scheme == "unix":
		if _, err := url.Parse(rawURL); err != nil {
			return nil, badURL(rawURL, "it does not parse: "+encoded)
		}
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, badURL(rawURL, "the host, the number of the database or an option")
		}
		o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.MaintNotificationsConfig = true, -1, 1, quiet
		o.Protocol = 2 // enough for us, and the library then does not look for push messages
		return redis.NewClient(o), nil
	case strings.HasSuffix(scheme, "+sentinel") || strings.HasSuffix(scheme, "+cluster"):
		name, kind, _ := strings.Cut(scheme, "+")
		if name != "redis" && name != "rediss" {
			break
		}
		user, password := "", ""
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			u, err := url.Parse("x://" + rest[:at] + "@h")
			if err != nil {
				return nil, badURL(rawURL, "it does not parse: "+encoded)
			}
			user = u.User.Username()
			password, _ = u.User.Password()
			rest = rest[at+1:]
		}
		hosts, path, _ := strings.Cut(rest, "/")
		var secure *tls.Config
		if name == "rediss" {
			secure = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if kind == "cluster" {
			if path != "" {
				return nil, badURL(rawURL, "a cluster has no databases: leave the path away")
			}
			addrs, err := addresses(rawURL, hosts, "6379")
			if err != nil {
				return nil, err
			}
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Username: user, Password: password,
				TLSConfig: secure,
				Protocol:  2, ContextTimeoutEnabled: true, MaxRedirects: 8, DialerRetries: 1,
				MaintNotificationsConfig: quiet}), nil
		}
		master, db, _ := strings.Cut(path, "/")
		n := 0
		if db != "" {
			var err error
			if n, err = strconv.Atoi(db); err != nil {
				return nil, badURL(rawURL, "the database must be a number: redis+sentinel://host:26379/master/0")
			}
		}
		if master == "" {
			return nil, badURL(rawURL, "the name of the master is missing: redis+sentinel://host:26379/master")
		}
		addrs, err := addresses(rawURL, hosts, "26379")
		if err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: master, SentinelAddrs: addrs, Username: user,
			Password: password, DB: n,
			TLSConfig: secure, Protocol: 2, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1}), nil
	}
	return nil, badURL(rawURL, "")
}

func addresses(rawURL, hosts, port string) ([]string, error) {
	var all []string
	for _, h := range strings.Split(hosts, ",") {
		if h == "" {
			return nil, badURL(rawURL, "a host is missing")
		}
		if !plainHosts(h) {
			return nil, badURL(rawURL, "the port of a host must be a number")
		}
		if !strings.Contains(h[strings.LastIndexByte(h, ']')+1:], ":") {
			h += ":" + port
		}
		all = append(all, h)
	}
	return all, nil
}

// encoded says what a password in a URL must be.
const encoded = "user and password must be URL-encoded (%40 for @, %3A for :, %2F for /, %23 for #, %25 for %)"

// badURL repeats only the part of the URL that redacted shows: the wrong
// part may be the password.
func badURL(rawURL, why string) error {
	rule := "must be one of " + forms
	if why != "" {
		rule = fmt.Sprintf("is not right (%s): it must be one of %s", why, forms)
	}
	return &onceq.InvalidError{Field: "store URL", Value: redacted(rawURL), Rule: rule}
}

// redacted is a store URL without its password and options. If the URL does
// not parse, only the scheme is shown and what follows the last @.
func redacted(rawURL string) string {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "?")
	at := strings.LastIndexByte(rest, '@')
	if at < 0 && plainHosts(rest) {
		return scheme + "://" + rest
	} else if at < 0 {
		return scheme + "://…"
	}
	user, host := rest[:at], rest[at+1:]
	if u, err := url.Parse("x://" + user + "@h"); err == nil && u.User != nil && u.Host == "h" {
		if name := url.User(u.User.Username()).String(); name != "" {
			host = name + "@" + host
		}
		return scheme + "://" + host
	}
	return scheme + "://…@" + host
}

// plainHosts reports whether each host in front of the path has a name and,
// if it has a port, a numeric one: then none of them is a password.
func plainHosts(rest string) bool {
	hosts, _, _ := strings.Cut(rest, "/")
	for _, h := range strings.Split(hosts, ",") {
		colon := strings.LastIndexByte(h, ':')
		if h == "" && hosts != "" || colon == 0 {
			return false
		}
		if colon > strings.LastIndexByte(h, ']') {
			if _, err := strconv.ParseUint(h[colon+1:], 10, 16); err != nil {
				return false
			}
		}
	}
	return true
}

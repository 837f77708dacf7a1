package storeurl

import (
	"context"
	"net"
	neturl "net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// closed is an address at which nobody listens.
func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// No error of Open repeats a secret, or a URL that does not parse: whatever
// is wrong with it, and with the server.
func TestNoErrorHasASecret(t *testing.T) {
	at := closed(t)
	for _, url := range []string{
		"postgres://app:S3CRET@" + at + "/x",
		"postgres://app:S3C%RET@" + at + "/x",
		"postgres://app:S3CRET",
		"postgres://app:S3CRET/x",
		"postgres://app:S3C/RET@" + at + "/x",
		"postgres://app:S3C?RET@" + at + "/x",
		"postgres://app:S3C#RET@" + at + "/x",
		"postgres://app:a@S3CRET/RET@" + at + "/x",
		"postgres://app:S3CRET@" + at + "/x?sslmode=bogus",
		"postgres://app:S3CRET@" + at + "/x?connect_timeout=bogus",
		"postgres://app:S3CRET@" + at + "/x?namespace=%zz",
		"postgres://app:S3CRET@" + at + "/%zz",
		"postgres://" + at + "/x?user=app&password=S3CRET&sslmode=bogus",
		"postgres://" + at + "/x?user=app&password=S3CRET",
		"postgres://" + at + "/x?password=S3CRET%zz",
		"postgres:app:S3CRET@" + at + "/x",
		"postgres:/app:S3CRET@" + at + "/x",
		"postgres//app:S3CRET@" + at + "/x",
		"postgres ://app:S3CRET@" + at + "/x",
		" postgres://app:S3CRET@" + at + "/x",
		"POSTGRES://app:S3CRET@" + at + "/x",
		"app:S3CRET@" + at + "/x",
		"S3CRET@" + at + "/x",
		":S3CRET@" + at,
		"host=127.0.0.1 password=S3CRET",
		"password='S3CRET'",
		"postgres://app:S3CRET@" + at + "/x\n",
		"redis://:S3CRET@" + at + "/0",
		"redis://:S3C%RET@" + at + "/0",
		"redis://:S3CRET@" + at + "/x",
		"redis://:S3CRET@" + at + "/0?bogus=1",
		"redis://:S3CRET@" + at + "/0?dial_timeout=x",
		"redis://:S3CRET@" + at + "/%zz",
		"redis://app:S3CRET",
		"redis://:S3CRET",
		"redis://S3CRET@" + at,
		"redis:S3CRET@" + at,
		"rediss://:S3CRET@" + at + "/0",
		"redis+sentinel://u:S3CRET@" + at + "/m/x",
		"redis+sentinel://u:S3CRET@" + at + "/m/0",
		"redis+sentinel://u:S3CRET@" + at,
		"redis+sentinel://" + at + "/m/0?sentinel_password=S3CRET",
		"redis+cluster://:S3CRET@" + at + "?x=y",
		"redis+cluster://:S3CRET@" + at + "/1",
		"redis+cluster://:S3CRET@" + at,
		"unix://u:S3CRET@/none",
		"sqlite://app:S3CRET@h/d",
		"mysql://app:S3CRET@h/d",
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // an absent server is waited for
			defer cancel()
			for name, open := range map[string]func() error{
				"Open": func() error {
					store, err := Open(ctx, url)
					if err == nil {
						_ = store.Close()
					}
					return err
				},
				"Creates":      func() error { _, err := Creates(url); return err },
				"CutNamespace": func() error { _, _, err := CutNamespace(url); return err },
			} {
				err := open()
				if err == nil && name == "Open" {
					t.Errorf("%s did not fail", name)
				}
				if err != nil && (strings.Contains(err.Error(), "S3C") || strings.Contains(err.Error(), "RET")) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if shown := Redacted(url); strings.Contains(shown, "S3C") || strings.Contains(shown, "RET") {
				t.Errorf("Redacted: %s", shown)
			}
		})
	}
}

func TestARedactedURLHasAllThatIsNoSecret(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:./a b?c=d@e.db":                               "sqlite:./a b?c=d@e.db",
		"sqlite::memory:":                                     "sqlite::memory:",
		"postgres://localhost/jobs":                           "postgres://localhost/jobs",
		"postgres://app:p%40ss@h:5432/d?namespace=x&sslmode=": "postgres://app@h:5432/d?namespace=x&sslmode=",
		"postgresql://app@h/d?password=p&user=u@v":            "postgresql://app@h/d?user=u@v",
		"postgres://h/d?sslpassword=p":                        "postgres://h/d",
		"postgres://app:p@ss@h/d":                             "postgres://app@h/d",
		"redis://:p@h:6379/0":                                 "redis://h:6379/0",
		"redis://u:p@h/0?client_name=a@b":                     "redis://u@h/0?client_name=a@b",
		"rediss://[::1]:6379":                                 "rediss://[::1]:6379",
		"unix:///run/a@b?db=1":                                "unix:///run/a@b?db=1",
		"redis+sentinel://u:p@h1,h2:1/m/0":                    "redis+sentinel://u@h1,h2:1/m/0",
		"redis+cluster://h1:1,h2:2":                           "redis+cluster://h1:1,h2:2",
		"jobs.db":                                             "a URL that does not parse",
	} {
		if got := Redacted(url); got != want {
			t.Errorf("Redacted(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestASecretIsMaskedWhereItIsAWord(t *testing.T) {
	for text, want := range map[string]string{
		`parse "redis://:p@h": p`: `parse "redis://:xxxxx@h": xxxxx`,
		"tcp 127.0.0.1":           "tcp 127.0.0.1",
		"a,p%40s,b":               "a,xxxxx,b",
		"p":                       "xxxxx",
		"":                        "",
	} {
		if got := mask(text, []string{"p%40s", "p"}); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Where the server cannot be had, the error names the store, says what is
// wrong in one sentence, and what to do.
func TestAnAbsentServerIsNamedAndTheWayOutIsSaid(t *testing.T) {
	at := closed(t)
	u, err := neturl.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/nobody_made_this"
	noDatabase := u.String()
	u.Path, u.User = "/postgres", neturl.UserPassword("nobody", "S3CRET")
	noUser := u.String()
	addr := redistest.Start(t).Addr
	client := redis.NewClient(&redis.Options{Addr: addr})
	if err := client.ConfigSet(t.Context(), "requirepass", "S3CRET").Err(); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	for url, want := range map[string][]string{
		"postgres://app:p@" + at + "/x":  {"postgres://app@" + at + "/x", "connection refused", "host and port"},
		"redis://:p@" + at + "/0":        {"redis://" + at + "/0", "connection refused", "host and port"},
		noDatabase:                       {"no such database|does not exist", "createdb"},
		noUser:                           {"postgres://nobody@", "password is wrong|role|pg_hba"},
		"redis+cluster://:p@" + at:       {"redis+cluster://" + at, "connection refused", "host and port"},
		"unix:///no/such/socket":         {"unix:///no/such/socket", "path"},
		"redis://no-such-host.invalid/0": {"redis://no-such-host.invalid/0", "host"},
		"redis://" + addr + "/0":         {"redis://" + addr + "/0", "asks for a password"},
		"redis://:wr0ng@" + addr + "/0":  {"redis://" + addr + "/0", "password is wrong"},
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			store, err := Open(ctx, url)
			if err == nil {
				_ = store.Close()
				t.Fatal("it did not fail")
			}
			for _, part := range want {
				if !slices.ContainsFunc(strings.Split(part, "|"), func(p string) bool {
					return strings.Contains(err.Error(), p)
				}) {
					t.Errorf("%v\ndoes not say %q", err, part)
				}
			}
			if n := strings.Count(err.Error(), "host and port"); n > 1 {
				t.Errorf("%v\nsays %d times what to do", err, n)
			}
		})
	}
}

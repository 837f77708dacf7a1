package dashboard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tokens are secrets that programs send as "Authorization: Bearer TOKEN", each
// with a role. Authorize and Who are for [Config].
type Tokens struct {
	path     string // of the file; "" = there is none
	mu       sync.Mutex
	all      []token
	looked   time.Time // when the file was last looked at
	modified time.Time // as it was read
	failures map[netip.Prefix]*failures
}

type token struct {
	role   string   // or several, with commas between them
	may    []Action // by all of them
	digest [32]byte
	name   string
}

// roles are what each may do.
var roles = map[string][]Action{
	"read":    {Read, ReadArgs},
	"enqueue": {Enqueue},
	"work":    {Work},
	"operate": {Read, ReadArgs, Enqueue, Work, Operate},
}

const shortestToken = 22 // characters: 128 bits in base 64

// ReadTokens reads lines of a role, a token and perhaps a name. The roles are
// read, enqueue, work and operate, which may do everything; a token has several
// as "enqueue,read". Lines that begin
// with # are comments. A worker belongs to the name of its token; without one
// the name is made of a digest.
func ReadTokens(from io.Reader) (*Tokens, error) {
	all, err := parseTokens(from)
	return &Tokens{all: all, failures: map[netip.Prefix]*failures{}}, err
}

// ReadTokenFile reads a file as [ReadTokens] does, and reads it again when it
// changes: a token that is taken out is refused a second later. A file that
// everybody on this machine can read is refused.
func ReadTokenFile(path string) (*Tokens, error) {
	t := &Tokens{path: path, failures: map[netip.Prefix]*failures{}}
	return t, t.read()
}

func (t *Tokens) read() error {
	file, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o004 != 0 && os.PathSeparator == '/' {
		return fmt.Errorf("the token file %s can be read by everybody: chmod 600 %[1]s", t.path)
	}
	all, err := parseTokens(file)
	if err != nil {
		return fmt.Errorf("the token file %s: %w", t.path, err)
	}
	t.all, t.modified, t.looked = all, info.ModTime(), time.Now()
	return nil
}

func parseTokens(from io.Reader) (all []token, err error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 || len(words) > 3 {
			return nil, fmt.Errorf("line %d must be ROLE TOKEN [NAME]", n)
		}
		var may []Action
		for role := range strings.SplitSeq(words[0], ",") {
			if roles[role] == nil {
				return nil, fmt.Errorf("line %d: the role %q must be read, enqueue, work or operate", n, role)
			}
			may = append(may, roles[role]...)
		}
		if len(words[1]) < shortestToken {
			return nil,
				fmt.Errorf("line %d: the token must be at least %d characters: head -c 24 /dev/urandom | base64",
					n, shortestToken)
		}
		k := token{role: words[0], may: may, digest: sha256.Sum256([]byte(words[1]))}
		if k.name = fmt.Sprintf("%x", k.digest[:6]); len(words) == 3 {
			k.name = words[2]
		}
		if !isName(k.name) {
			return nil, fmt.Errorf("line %d: the name %q must be at most 40 letters, digits, \".\", \"_\" and \"-\"",
				n, k.name)
		}
		if slices.ContainsFunc(all, func(o token) bool { return o.digest == k.digest || o.name == k.name }) {
			return nil, fmt.Errorf("line %d: the token or its name is there twice", n)
		}
		all = append(all, k)
	}
	if lines.Err() == nil && len(all) == 0 {
		return nil, errors.New("there is no token: a line is ROLE TOKEN [NAME]")
	}
	return all, lines.Err()
}

func isName(s string) bool {
	return len(s) <= 40 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	})
}

// find finds the token of a request: that of its header, or without one that of
// its session.
func (t *Tokens) find(r *http.Request) (found token, sent, ok bool) {
	kind, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if sent = strings.EqualFold(kind, "Bearer") && secret != ""; sent {
		found, ok = t.findSecret(secret)
	} else {
		found, ok = t.findSession(r)
	}
	return found, sent, ok
}

// findSecret finds a token. All are compared, so that the time it takes says
// nothing.
func (t *Tokens) findSecret(secret string) (found token, ok bool) {
	digest := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	for _, k := range t.current() {
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			found, ok = k, true
		}
	}
	return found, ok
}

// current returns the tokens, of the file as it is now. A file that cannot be
// read any more leaves them as they were.
func (t *Tokens) current() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.looked) >= time.Second {
		t.looked = time.Now()
		if info, err := os.Stat(t.path); err == nil && !info.ModTime().Equal(t.modified) {
			_ = t.read() // a file that is half written is read again
		}
	}
	return t.all
}

// Authorize allows what the role of the token may do.
func (t *Tokens) Authorize(r *http.Request, a Action) error {
	k, sent, ok := t.find(r)
	if !ok {
		if sent {
			if wait := t.failed(r); wait > 0 {
				return &slowedError{wait}
			}
		}
		return ErrUnauthenticated
	}
	if !slices.Contains(k.may, a) {
		return fmt.Errorf("a token of the role %s may not do that: it needs %s", k.role, a)
	}
	return nil
}

// Who is the name of the token.
func (t *Tokens) Who(r *http.Request) string {
	k, _, _ := t.find(r)
	if k.name == "" {
		return "anyone"
	}
	return k.name
}

// slowedError is the answer to the eleventh wrong token.
type slowedError struct{ wait time.Duration }

func (e *slowedError) Error() string { return "too many wrong tokens" }

// failures are wrong tokens from one address.
type failures struct {
	n     int
	since time.Time
}

const (
	mostFailures  = 10 // in a minute, from one address
	mostAddresses = 1024
)

// failed counts a wrong token, and returns how long its address has to wait. A
// right token is never asked to wait.
func (t *Tokens) failed(r *http.Request) (wait time.Duration) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, _ := netip.ParseAddr(host)
	bits := 32
	if addr = addr.Unmap(); addr.Is6() {
		bits = 64 // whoever has one address has all of these
	}
	prefix, _ := addr.Prefix(bits)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.failures[prefix]
	if f == nil || now.Sub(f.since) > time.Minute {
		if f == nil && len(t.failures) >= mostAddresses {
			clear(t.failures)
		}
		f = &failures{since: now}
		t.failures[prefix] = f
	}
	if f.n++; f.n > mostFailures {
		return time.Minute - now.Sub(f.since)
	}
	return 0
}

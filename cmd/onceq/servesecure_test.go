package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const serveToken = "0123456789abcdefghijkl"

// serving runs onceq serve until the test ends, and returns its URL. change is
// made to the usual flags.
func serving(t *testing.T, change func(*httpServer)) (url string, log *syncBuffer) {
	t.Helper()
	log = &syncBuffer{}
	a := newApp(nil, log, log)
	a.store = "sqlite:" + filepath.Join(t.TempDir(), "q.db")
	ctx, cancel := context.WithCancel(context.Background())
	began, ended := make(chan string, 1), make(chan error, 1)
	s := &httpServer{listen: "127.0.0.1:0", lease: time.Minute, shutdown: 10 * time.Second, maxPolls: 10,
		streams: 10, most: 100,
		began: func(url string) { began <- url }}
	if change != nil {
		change(s)
	}
	go func() { ended <- a.serve(ctx, s, func() {}) }()
	select {
	case url = <-began:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return url, log
}

// TestAClientThatSendsAByteASecondIsCutOff sends a head and a body so slowly
// that each would take minutes.
func TestAClientThatSendsAByteASecondIsCutOff(t *testing.T) {
	url, _ := serving(t, nil)
	const head = "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for name, c := range map[string]struct {
		first string
		limit time.Duration
	}{
		"head": {head, 5 * time.Second},
		"body": {head + "Content-Length: 1000\r\n\r\n", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(url, "http://"), "/"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, "a"); err != nil {
						return
					}
				}
			}()
			_ = conn.SetReadDeadline(began.Add(c.limit + 20*time.Second))
			_, err = io.Copy(io.Discard, conn) // until the server closes
			if took := time.Since(began); errors.Is(err, os.ErrDeadlineExceeded) || took < c.limit-time.Second {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// writeCertificate writes a new certificate for this machine, and returns its
// number.
func writeCertificate(t *testing.T, certFile, keyFile string, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLSCertificatesAreReloadedWithoutADroppedRequest(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, 1)
	url, log := serving(t, func(s *httpServer) { s.certFile, s.keyFile = cert, key })
	var seen, protocol atomic.Int64
	var asked atomic.Int64
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, // by itself: the number is compared
			VerifyConnection: func(s tls.ConnectionState) error {
				seen.Store(s.PeerCertificates[0].SerialNumber.Int64())
				return nil
			}}}}
	ask := func() error {
		res, err := client.Get(url + "healthz")
		if err != nil {
			return err
		}
		protocol.Store(int64(res.ProtoMajor))
		asked.Add(1)
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	stop, dropped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				dropped <- nil
				return
			default:
			}
			if err := ask(); err != nil {
				dropped <- err
				return
			}
		}
	}()
	until := func(number int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); seen.Load() != number; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("certificate %d, want %d: %s", seen.Load(), number, log)
			}
		}
	}
	until(1)
	other := filepath.Join(dir, "other.pem")
	writeCertificate(t, other, filepath.Join(dir, "other-key.pem"), 2)
	if err := os.Rename(other, cert); err != nil { // its key has not come yet
		t.Fatal(err)
	}
	for before := time.Now(); time.Since(before) < 1500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if n := seen.Load(); n != 1 {
			t.Fatalf("certificate %d without its key", n)
		}
	}
	if err := os.Rename(filepath.Join(dir, "other-key.pem"), key); err != nil {
		t.Fatal(err)
	}
	until(2)
	close(stop)
	if err := <-dropped; err != nil {
		t.Error(err)
	}
	if asked.Load() < 10 || protocol.Load() != 2 {
		t.Errorf("%d requests over HTTP/%d", asked.Load(), protocol.Load())
	}
	if !strings.Contains(log.String(), "certificate cannot be read") || !strings.Contains(log.String(), "https://") {
		t.Error(log)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		MaxVersion: tls.VersionTLS11}}}
	if _, err := old.Get(url + "healthz"); err == nil {
		t.Error("TLS 1.1 was served")
	}
}

func TestAPublicURLNeedsATokenAndIsAHostAndAnOrigin(t *testing.T) {
	t.Setenv("ONCEQ_TOKEN", "")
	for want, args := range map[string][]string{
		"--token-file":     {"--public-url", "https://jobs.example.com"},
		"jobs.example.com": {"--public-url", "jobs"},
		"go together":      {"--tls-cert", "x"},
		"no such file":     {"--tls-cert", "x", "--tls-key", "y"},
	} {
		var errs bytes.Buffer
		path := filepath.Join(t.TempDir(), "q.db")
		code := run(append([]string{"serve", "--store", "sqlite:" + path, "--listen", "127.0.0.1:0"}, args...), nil,
			&errs, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit code %d: %s", args, code, &errs)
		}
	}
	t.Setenv("ONCEQ_TOKEN", serveToken)
	url, _ := serving(t, func(s *httpServer) { s.publicURL = "https://jobs.example.com/onceq/" })
	r, err := http.NewRequest("POST", url+"login", strings.NewReader("token="+serveToken))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "jobs.example.com"
	r.Header.Set("Origin", "https://jobs.example.com")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || !strings.Contains(res.Header.Get("Set-Cookie"), "; Secure") {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestASocketThatIsAFileIsForThisUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	at, _ := serving(t, func(s *httpServer) { s.listen = "unix:" + path })
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || at != "unix:"+path {
		t.Fatalf("%s: %v, %v", at, info, err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://localhost/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error(fmt.Sprint(res.StatusCode))
	}
}

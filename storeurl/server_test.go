package storeurl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m).Run()
	_ = os.RemoveAll(certificates)
	os.Exit(code)
}

// unused returns a name that no test has used before on these servers, also
// when the tests of this binary run again and again.
func unused(name string) string {
	return fmt.Sprintf("%s%%20%d", name, names.Add(1))
}

var names atomic.Int64

// Each kind of URL opens a store that works, and a namespace is a store of
// its own.
func TestEveryURLOpensAStoreAndANamespaceIsAStoreOfItsOwn(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { return pgtest.URL(t) },
		"postgresql": func(t *testing.T) string {
			return strings.Replace(pgtest.URL(t), "postgres:",
				"postgresql:", 1)
		},
		"pgbouncer": func(t *testing.T) string { return pgtest.URL(t) + "&default_query_exec_mode=exec" },
		"redis":     func(t *testing.T) string { return redistest.URL(t) },
		"unix": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "s")
			redistest.Start(t, "--unixsocket", path)
			return "unix://" + path
		},
		"rediss":         secureRedis,
		"redis+sentinel": func(t *testing.T) string { return redistest.StartSentinels(t).URL() },
		"redis+cluster":  func(t *testing.T) string { return redistest.ClusterURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			if strings.Contains(url, "?") {
				url += "&namespace="
			} else {
				url += "?namespace="
			}
			a, b := unused(name), unused(name)
			for _, want := range []struct {
				namespace string
				outcome   onceq.Outcome
			}{{a, onceq.Inserted}, {b, onceq.Inserted}, {a, onceq.Skipped}} {
				store, err := Open(t.Context(), url+want.namespace)
				if err != nil {
					t.Fatal(err)
				}
				client, err := onceq.NewClient(store, nil)
				if err != nil {
					t.Fatal(err)
				}
				r, err := client.Enqueue(t.Context(), onceq.JSON("mail", []byte(`{"to":"a"}`)),
					onceq.UniqueKey("welcome"))
				if err != nil || r.Outcome != want.outcome {
					t.Errorf("in %s: %v, %v; want %v", want.namespace, r.Outcome, err, want.outcome)
				}
				if err := client.Close(); err != nil {
					t.Error(err)
				}
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// secureRedis is a server with a certificate that this process trusts.
func secureRedis(t *testing.T) string {
	certified.Do(func() { certify(t) })
	addr := redistest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", filepath.Join(certificates, "cert"), "--tls-key-file",
		filepath.Join(certificates, "key"), "--tls-auth-clients", "no")
	return "rediss://" + addr
}

var (
	certified    sync.Once
	certificates string // the folder of the certificate
)

// certify makes the certificate. A process reads those that it trusts once, at
// its first connection with TLS, so that there is one for all tests.
func certify(t *testing.T) {
	dir, err := os.MkdirTemp("", "onceq-certificate-")
	if err != nil {
		t.Fatal(err)
	}
	certificates = dir
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "onceq's test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert},
		"key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Setenv("SSL_CERT_FILE", filepath.Join(dir, "cert")); err != nil {
		t.Fatal(err)
	}
}

func TestTheNamespaceIsTakenOutOfTheQuery(t *testing.T) {
	for url, want := range map[string][2]string{
		"redis://h/0":                          {"redis://h/0", ""},
		"redis://h/0?namespace=x":              {"redis://h/0", "x"},
		"postgres://h/d?a=1&namespace=x%2Fy&b": {"postgres://h/d?a=1&b", "x/y"},
		"postgres://h/d?a=namespace=x":         {"postgres://h/d?a=namespace=x", ""},
		"postgres://h/d?namespace=":            {"", "error"},
		"postgres://h/d?namespace=%zz":         {"", "error"},
	} {
		rest, namespace, err := CutNamespace(url)
		if err != nil {
			namespace = "error"
		}
		if rest != want[0] || namespace != want[1] {
			t.Errorf("CutNamespace(%q) = %q, %q, %v; want %q", url, rest, namespace, err, want)
		}
	}
}

func TestOpenExistingMakesNothing(t *testing.T) {
	file := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
	schema := pgtest.URL(t) + "&namespace=" + unused("nobody%20made%20this")
	for _, url := range []string{file, schema} {
		for range 2 {
			store, err := OpenExisting(t.Context(), url)
			if err == nil {
				_ = store.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "there is no store") {
				t.Errorf("%s: %v", url, err)
			}
		}
		made, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		_ = made.Close()
		store, err := OpenExisting(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		_ = store.Close()
	}
}

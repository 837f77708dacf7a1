package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// certificate is a TLS certificate in two files, which are read again when they
// change: whoever renews it need not restart the server.
type certificate struct {
	certFile, keyFile string
	failed            func(error) // is told when the files cannot be read any more

	mu      sync.Mutex
	looked  time.Time // when the files were last looked at
	changed [2]time.Time
	current *tls.Certificate
}

// tlsConfig reads the files, and returns what a server wants to have.
func (c *certificate) tlsConfig() (*tls.Config, error) {
	if err := c.read(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil }}, nil
}

// read reads the files if they have changed.
func (c *certificate) read() error {
	var changed [2]time.Time
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		changed[i] = info.ModTime()
	}
	if changed == c.changed {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.changed = &pair, changed
	return nil
}

// get returns the certificate of now. Files that do not go together, because
// one of them is still being written, leave it as it was.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= time.Second {
		c.looked = time.Now()
		if err := c.read(); err != nil {
			c.failed(err)
		}
	}
	return c.current
}

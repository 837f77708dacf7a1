package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
	"github.com/onceq/onceq/storeurl"
)

type httpServer struct {
	listen    string
	tokenFile string
	hosts     []string
	readOnly  bool
	hideArgs  bool
	masks     []string
	lease     time.Duration
	shutdown  time.Duration
	maxPolls  int
	streams   int
	most      int // connections at once
	publicURL string
	certFile  string
	keyFile   string
	metrics   string // HOST:PORT

	began func(url string) // for tests
}

func newServe(a *app) *cobra.Command {
	s := httpServer{lease: time.Minute, shutdown: 25 * time.Second, most: maxConnections}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the store over HTTP",
		Long: `Serve the store over HTTP: enqueue, look and change from any language, and let
workers in any language take part. docs/http.md has each call with curl.

It listens on this machine only, and everybody here may then do everything.
Another address needs tokens: a file with lines ROLE TOKEN [NAME], or
ONCEQ_TOKEN, a token that may do everything. The roles are

  read      look at jobs, keys, queues, workers and counts
  enqueue   make jobs, and explain what an enqueue would do
  work      fetch jobs and finish them
  operate   everything

A token may have several roles: enqueue,read. A token that is taken out of the
file is refused a second later. The name of a host under which the server is
reached must be said with --host. People sign in with a token on the page
/login.

Tokens travel as they are, so another address needs TLS: --tls-cert and
--tls-key, which are read again when they change, or a proxy in front. Behind
a proxy say with --public-url what people type.

It rescues jobs of workers that were lost, and tidies the store. /healthz says
that the process lives, /readyz that the store answers.

The first Ctrl-C (or SIGTERM) ends it when the requests under way are done, at
most --shutdown-timeout later; the second ends it at once. Jobs that run
elsewhere go on: another server can answer their workers.`,
		Example: `  onceq serve
  onceq serve --listen :8080 --token-file tokens --host jobs.example.com`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), stopSignals()...)
			defer stop()
			return a.serve(ctx, &s, stop)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&s.listen, "listen", envOr("ONCEQ_LISTEN", "127.0.0.1:8080"), "the `ADDRESS` to listen on, "+
		"or unix:PATH (or set ONCEQ_LISTEN)")
	fs.StringVar(&s.tokenFile, "token-file", os.Getenv("ONCEQ_TOKEN_FILE"), "a `FILE` of lines ROLE TOKEN [NAME] (or "+
		"set ONCEQ_TOKEN_FILE)")
	fs.StringArrayVar(&s.hosts, "host", nil, "a `NAME` under which the server is reached; may be repeated")
	fs.StringVar(&s.publicURL, "public-url", os.Getenv("ONCEQ_PUBLIC_URL"), "the `URL` of a proxy in front (or set "+
		"ONCEQ_PUBLIC_URL)")
	fs.StringVar(&s.certFile, "tls-cert", "", "a `FILE` with the certificate; then it serves https")
	fs.StringVar(&s.keyFile, "tls-key", "", "a `FILE` with the certificate's key")
	fs.StringVar(&s.metrics, "metrics-listen", "", "show metrics for Prometheus at http://`HOST:PORT`/metrics, and "+
		"not at /metrics for the role read; :PORT is this machine only")
	fs.BoolVar(&s.readOnly, "read-only", os.Getenv("ONCEQ_READ_ONLY") != "", "only look (or set ONCEQ_READ_ONLY)")
	fs.BoolVar(&s.hideArgs, "hide-args", false, "show args, and what keys are made of, to the role operate only")
	fs.StringArrayVar(&s.masks, "mask", nil, "a `POINTER` to a member that is shown to nobody: /card/number, or "+
		"mail=/pin for the kind mail only; may be repeated")
	fs.Var(&span{&s.lease}, "lease", "a worker that is silent for this long is lost")
	fs.IntVar(&s.maxPolls, "max-polls", 1000, "how many `FETCHES` wait for jobs at once")
	fs.IntVar(&s.streams, "max-streams", 64, "how many `STREAMS` of events are open at once")
	fs.Var(&span{&s.shutdown}, "shutdown-timeout", "how long a first Ctrl-C waits for requests")
	return c
}

func envOr(name, usual string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return usual
}

// maxConnections bounds the memory of connections that do nothing. Those that
// have asked for nothing yet are cut after five seconds.
const maxConnections = 2000

const unixPrefix = "unix:" // of an address that is a file

// checkListen refuses an address that is none.
func (s *httpServer) checkListen() error {
	if path, isFile := strings.CutPrefix(s.listen, unixPrefix); isFile {
		if path == "" {
			return usagef("--listen %q must have the path of a socket: unix:/run/onceq.sock", s.listen)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(s.listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return usagef("--listen %q must be HOST:PORT, such as 127.0.0.1:8080, or unix:PATH", s.listen)
	}
	return nil
}

// listener listens. A socket that is a file is for this user alone.
func (s *httpServer) listener() (net.Listener, error) {
	path, isFile := strings.CutPrefix(s.listen, unixPrefix)
	if !isFile {
		l, err := net.Listen("tcp", s.listen)
		if err != nil {
			return nil, fmt.Errorf("--listen %s: %w: choose another port, or 0 for one that is free", s.listen,
				plainListenError(err))
		}
		return &fewListener{Listener: l, free: make(chan struct{}, s.most)}, nil
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", s.listen, plainListenError(err))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &fewListener{Listener: l, free: make(chan struct{}, s.most)}, nil
}

// fewListener has so many connections at once as free has room for. The next
// one waits until another is closed.
type fewListener struct {
	net.Listener
	free chan struct{}
}

// Accept is net.Listener's.
func (l *fewListener) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { <-l.free })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

// Close is net.Conn's.
func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// isLocal reports whether only this machine can reach an address.
func isLocal(listen string) bool {
	if strings.HasPrefix(listen, unixPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// access says who may do what, for the handler and for people.
func (s *httpServer) access(c *dashboard.Config) (who string, err error) {
	token := os.Getenv("ONCEQ_TOKEN")
	switch {
	case s.tokenFile != "" && token != "":
		return "", usagef("ONCEQ_TOKEN and a token file are both there: keep one")
	case s.tokenFile == "" && token == "" && !isLocal(s.listen):
		return "", usagef("--listen %q: others can reach that address, so say who may do what: --token-file FILE, or "+
			"ONCEQ_TOKEN; or listen on 127.0.0.1", s.listen)
	case s.tokenFile == "" && token == "" && s.publicURL != "":
		return "", usagef("--public-url %q: others can reach it, so say who may do what: --token-file FILE, or "+
			"ONCEQ_TOKEN", s.publicURL)
	case s.tokenFile == "" && token == "":
		c.Authorize, who = dashboard.Everyone, "anyone on this machine can operate; --token-file asks for a token"
		if s.readOnly {
			c.Authorize, who = dashboard.ReadOnly, "anyone on this machine can look"
		}
		return who, nil
	}
	tokens, err := (*dashboard.Tokens)(nil), error(nil)
	if token != "" {
		tokens, err = dashboard.ReadTokens(strings.NewReader("operate " + token + " ONCEQ_TOKEN"))
		if err != nil {
			return "", usagef("ONCEQ_TOKEN must be one word of at least 22 characters")
		}
	} else if tokens, err = dashboard.ReadTokenFile(s.tokenFile); err != nil {
		return "", usagef("--token-file: %v", err)
	}
	c.Authorize, c.Who, c.Login, who = tokens.Authorize, tokens.Who, tokens, "with a token"
	if s.readOnly {
		who = "with a token, to look"
		c.Authorize = func(r *http.Request, a dashboard.Action) error {
			if err := dashboard.ReadOnly(r, a); err != nil {
				return err
			}
			return tokens.Authorize(r, a)
		}
	}
	return who, nil
}

// checkBounds refuses numbers that are out of reach.
func (s *httpServer) checkBounds() error {
	if s.maxPolls < 1 {
		return usagef("--max-polls \"%d\" must be 1 or more", s.maxPolls)
	}
	if s.streams < 1 {
		return usagef("--max-streams \"%d\" must be 1 or more", s.streams)
	}
	if _, err := onceq.NewRemote(nowhere{}, &onceq.RemoteConfig{Lease: s.lease}); err != nil || s.lease == 0 {
		return usagef("--lease %q must be 5s to 24h", short(s.lease))
	}
	return nil
}

// maskOf reads the values of --mask: POINTER for every kind, or KIND=POINTER.
func maskOf(said []string) (func(kind string) []string, error) {
	if len(said) == 0 {
		return nil, nil
	}
	masks := map[string][]string{} // by kind; "" = every kind
	for _, one := range said {
		kind, pointer := "", one
		if i := strings.Index(one, "=/"); i > 0 && !strings.HasPrefix(one, "/") {
			kind, pointer = one[:i], one[i+1:]
		}
		if !strings.HasPrefix(pointer, "/") || len(pointer) < 2 {
			return nil, usagef("--mask %q must be a JSON Pointer such as /card/number, or one for a kind: "+
				"mail=/card/number", one)
		}
		masks[kind] = append(masks[kind], pointer)
	}
	return func(kind string) []string { return append(masks[""][:len(masks[""]):len(masks[""])], masks[kind]...) }, nil
}

// serve serves until ctx ends. stop lets a second signal end the process.
func (a *app) serve(ctx context.Context, s *httpServer, stop func()) (err error) {
	logger := slog.New(&logLines{out: a.errOut})
	// What an operator changes is told, though it is no warning.
	config := &dashboard.Config{Hosts: s.hosts, Logger: slog.New(&logLines{out: a.errOut, info: true}),
		MaxPolls: s.maxPolls, MaxStreams: s.streams, Version: readVersion().Version,
		Store: storeurl.Redacted(a.store)}
	if s.hideArgs {
		config.Args = dashboard.ArgsHidden
	}
	if config.Mask, err = maskOf(s.masks); err != nil {
		return err
	}
	if err := s.public(config); err != nil {
		return err
	}
	if err := s.checkListen(); err != nil {
		return err
	}
	who, err := s.access(config)
	if err != nil {
		return err
	}
	if err := s.checkBounds(); err != nil {
		return err
	}
	secure, err := s.secure(logger)
	if err != nil {
		return err
	}
	listener, err := s.listener()
	if err != nil {
		return err
	}
	defer listener.Close()
	shown, err := exportMetrics(s.metrics)
	if err == nil && shown.provider == nil { // then it is one of the pages
		if shown, err = newExported(); err == nil {
			config.Metrics = shown.handler
		}
	}
	if err != nil {
		return err
	}
	defer shown.end()
	open, err := a.open(ctx, &onceq.Config{Logger: logger, MeterProvider: shown.provider})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.close()) }()
	if config.Remote, err = onceq.NewRemote(open.store, &onceq.RemoteConfig{Lease: s.lease,
		Logger: logger, MeterProvider: shown.provider}); err != nil {
		return err
	}
	handler, err := measuredDashboard(open.client, config, shown.provider)
	if err != nil {
		return err
	}
	defer handler.Close()
	shown.say(a.errOut)
	at := "http://" + listener.Addr().String() + "/"
	if secure != nil {
		at = "https" + strings.TrimPrefix(at, "http")
	}
	if strings.HasPrefix(s.listen, unixPrefix) {
		at = s.listen
	}
	fmt.Fprintf(a.errOut, "onceq: %s on %s (%s)\n", at, storeurl.Redacted(a.store), who)
	if !isLocal(s.listen) && secure == nil && !config.Secure {
		fmt.Fprintln(a.errOut, "onceq: without TLS in front of it, everybody on the way can read the tokens")
	}
	if s.began != nil {
		s.began(at)
	}
	server := newServer(handler, secure)
	return s.run(ctx, listener, server, handler, config.Remote, stop)
}

// public takes in what people type to come here.
func (s *httpServer) public(c *dashboard.Config) error {
	if s.publicURL == "" {
		return nil
	}
	u, err := url.Parse(s.publicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return usagef("--public-url %q must be as https://jobs.example.com/", s.publicURL)
	}
	c.Hosts, c.Secure = append(c.Hosts, u.Hostname()), u.Scheme == "https"
	c.Origins = append(c.Origins, u.Scheme+"://"+u.Host)
	return nil
}

// secure returns how TLS is served; nil = it is not.
func (s *httpServer) secure(log *slog.Logger) (*tls.Config, error) {
	if s.certFile == "" && s.keyFile == "" {
		return nil, nil
	}
	if s.certFile == "" || s.keyFile == "" {
		return nil, usagef("--tls-cert and --tls-key go together")
	}
	c := &certificate{certFile: s.certFile, keyFile: s.keyFile,
		failed: func(err error) { log.Warn("onceq: certificate cannot be read", "error", err) }}
	config, err := c.tlsConfig()
	if err != nil {
		return nil, usagef("--tls-cert: %v", err)
	}
	return config, nil
}

// newServer bounds what one client can hold: one that is slow is cut off.
func newServer(handler http.Handler, secure *tls.Config) *http.Server {
	return &http.Server{Handler: handler, TLSConfig: secure, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
}

// run answers requests until ctx ends.
func (s *httpServer) run(ctx context.Context, listener net.Listener, server *http.Server,
	handler *dashboard.Dashboard, remote *onceq.Remote, stop func()) error {
	swept := make(chan error, 1)
	running, halt := context.WithCancel(context.WithoutCancel(ctx))
	defer halt()
	go func() { swept <- remote.Run(running) }()
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(listener, "", "") // the files are in its TLSConfig
		} else {
			served <- server.Serve(listener)
		}
	}()
	select {
	case err := <-served:
		halt()
		return errors.Join(err, <-swept)
	case err := <-swept: // the store was closed
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	stop() // a second signal ends the process
	handler.Drain()
	halt() // fetches that wait end with nothing
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdown)
	defer cancel()
	err := server.Shutdown(late)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(fmt.Errorf("requests were still under way after %s", short(s.shutdown)), server.Close())
	}
	return errors.Join(err, <-swept)
}

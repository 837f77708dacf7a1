// Package pgstore keeps onceq's jobs in PostgreSQL 13 or later, in a schema of their own. Most people want Open:
//
//	store, err := pgstore.Open(ctx, "postgres://user@host/database", nil)
//
// Every operation is one statement and one round trip, atomic by itself. Jobs can be enqueued in a transaction of the caller's, of pgx or
// of database/sql: see Store.Tx and Store.SQLTx. What somebody's open transaction holds keeps nobody else waiting.
//
// It works behind pgbouncer in transaction mode too: set Config.ExecMode to pgx.QueryExecModeExec there, and let workers poll.
package pgstore

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
)

// Config is how a store uses a database. The zero value, and nil, are ready to use.
type Config struct {
	// Namespace is the schema that holds the tables; "onceq" unless said. Two namespaces of one database do not see each other.
	Namespace string
	// NoMigrate makes Open refuse a schema that is not up to date, in place of bringing it there.
	NoMigrate bool
	// NoListen leaves LISTEN and NOTIFY alone: a worker hears of what other processes enqueue when it polls. Behind a pooler that hands
	// out connections by the transaction it makes no difference, because LISTEN does not work there.
	NoListen bool
	// ExecMode is how statements are sent; zero = as the pool does, and that is as prepared statements unless said. Behind pgbouncer in
	// transaction mode use pgx.QueryExecModeExec (or pgx.QueryExecModeSimpleProtocol).
	ExecMode pgx.QueryExecMode
	// Logger is told when the server cannot be heard; nil = slog.Default().
	Logger *slog.Logger
}

func (c *Config) namespace() string {
	if c == nil || c.Namespace == "" {
		return "onceq"
	}
	return c.Namespace
}

func (c *Config) validate() error {
	n := c.namespace()
	switch {
	case len(n) > 63:
		return &onceq.InvalidError{Field: "Config.Namespace", Value: n, Rule: "must be at most 63 bytes long: it is the name of a schema"}
	case !utf8.ValidString(n) || strings.ContainsRune(n, 0):
		return &onceq.InvalidError{Field: "Config.Namespace", Value: n, Rule: "must be valid UTF-8 without NUL: it is the name of a schema"}
	}
	return nil
}

// Store is a onceq.Store on PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	owned  bool // pool was made here
	config Config
	sql    statements
	waker  waker
	recent recent
	floors floors
	// waiting is room for calls that wait for somebody's transaction: the rest of the pool is for everybody else.
	waiting chan struct{}

	explicit atomic.Bool // each statement states its isolation: see settings.go

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // under way
	open   context.Context
	shut   context.CancelFunc
}

// Open connects to the database that url names, and brings the schema up to date unless Config.NoMigrate says not to. The URL is pgx's: all
// that libpq knows, and pool_max_conns and the like. The caller closes the store.
func Open(ctx context.Context, url string, config *Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	pc, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("pgstore: open: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		pc.MaxConns = max(pc.MaxConns, 10)
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = reconnect
	}
	// Poolers take these two parameters. See settings.go for the others.
	parameters := pc.ConnConfig.RuntimeParams
	parameters["standard_conforming_strings"] = "on"
	if parameters["application_name"] == "" {
		parameters["application_name"] = "onceq"
	}
	pc.AfterConnect = speakUTF8
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("pgstore: open: %w", err)
	}
	if config != nil && config.NoMigrate {
		err = check(ctx, pool, config.namespace())
	} else {
		err = Migrate(ctx, pool, config)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	s := newStore(pool, config)
	s.owned = true
	return s, nil
}

// New keeps jobs in a database that the caller has connected to, and does not migrate: see Migrate. Close leaves the pool open. A store
// uses one connection besides the pool's while somebody waits for wake-ups, unless Config.NoListen.
func New(pool *pgxpool.Pool, config *Config) (*Store, error) {
	if pool == nil {
		return nil, &onceq.InvalidError{Field: "pool", Value: "nil", Rule: "must not be nil: make one with pgxpool.New, or use Open"}
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	return newStore(pool, config), nil
}

func newStore(pool *pgxpool.Pool, config *Config) *Store {
	s := &Store{pool: pool, waiting: make(chan struct{}, max(1, pool.Config().MaxConns/4))}
	if config != nil {
		s.config = *config
	}
	s.config.Namespace = config.namespace()
	if s.config.ExecMode == 0 {
		s.config.ExecMode = pool.Config().ConnConfig.DefaultQueryExecMode
	}
	if s.config.Logger == nil {
		s.config.Logger = slog.Default()
	}
	s.sql = loadStatements(s.config.Namespace)
	s.open, s.shut = context.WithCancel(context.Background())
	s.waker.init(s)
	return s
}

// Traits says how group commits are best sent here: several at once while the server is slow or
// far, and half of the pool is left for everybody else.
func (s *Store) Traits() onceq.Traits {
	return onceq.Traits{InFlight: min(8, max(2, int(s.pool.Config().MaxConns/2))), Join: 16, Blocks: true, Wake: s.Wake, Growth: s.growth,
		Data: s.data()}
}

// data names the database and the schema.
func (s *Store) data() string {
	return fmt.Sprintf("PostgreSQL database %q, schema %q", s.pool.Config().ConnConfig.Database, s.config.namespace())
}

// Close waits for the calls that are under way and ends all wake-ups; a pool that was handed to New stays open. Calls afterwards answer
// onceq.ErrClosed, and so does a second Close.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return onceq.ErrClosed
	}
	s.closed = true
	s.shut()
	s.mu.Unlock()

	s.calls.Wait()
	s.waker.close()
	if s.owned {
		s.pool.Close()
	}
	return nil
}

// enter counts a call as under way until leave is called.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, onceq.ErrClosed
	}
	s.calls.Add(1)
	return s.calls.Done, nil
}

// wrap says what was tried. Sentinels of the contract stay bare.
func (s *Store) wrap(what string, err error) error {
	if err == nil || err == onceq.ErrClosed || err == onceq.ErrLeaseLost {
		return err
	}
	return fmt.Errorf("pgstore: %s: %w", what, err)
}

//go:embed sql/*.sql
var statementFiles embed.FS

// statements are the texts of sql/, as they are for one namespace.
type statements struct {
	look, lookup, insert, insertOne, act, actText, fetch, extend, finish, change, release, pause, resume, sweep,
	get, list, keys, queues, notify string
}

func loadStatements(namespace string) (s statements) {
	for name, to := range map[string]*string{
		"enqueue_look": &s.look, "enqueue_lookup": &s.lookup, "enqueue_insert": &s.insert, "enqueue_insert_one": &s.insertOne, "enqueue_act": &s.act, "enqueue_act_text": &s.actText,
		"fetch": &s.fetch, "extend": &s.extend, "finish": &s.finish,
		"change": &s.change, "release": &s.release, "pause": &s.pause, "resume": &s.resume, "sweep": &s.sweep,
		"get": &s.get, "list": &s.list, "keys": &s.keys, "queues": &s.queues, "notify": &s.notify,
	} {
		text, err := statementFiles.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(err) // they are embedded
		}
		*to = expand(string(text), namespace)
	}
	return s
}

var _ onceq.Store = (*Store)(nil)

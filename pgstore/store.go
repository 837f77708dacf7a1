// Package pgstore keeps onceq's jobs in PostgreSQL 13 or later, in a schema
// of their own. Most people want [Open]:
//
//	store, err := pgstore.Open(ctx, "postgres://user@host/database", nil)
//
// Every operation is atomic by itself, and mostly one statement and one
// round trip. Jobs can be enqueued in a transaction of the caller's, of pgx
// or of database/sql: see [Store.Tx] and [Store.SQLTx]. What an open
// transaction has locked does not make other callers wait.
//
// It also works behind pgbouncer in transaction mode: set Config.ExecMode
// to pgx.QueryExecModeExec there, and let workers poll.
package pgstore

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
)

// Config says how a store uses a database. The zero value and nil are ready
// to use.
type Config struct {
	// Namespace is the schema that has the tables; "" = "onceq". Two
	// namespaces of one database do not see each other.
	Namespace string
	// NoMigrate makes [Open] refuse a schema that is not up to date,
	// instead of bringing it up to date.
	NoMigrate bool
	// NoListen turns LISTEN and NOTIFY off: a worker learns of what other
	// processes enqueue when it polls. Behind a pooler in transaction mode
	// it makes no difference, because LISTEN does not work there.
	NoListen bool
	// ExecMode is how statements are sent. Zero = as the pool does it,
	// which is as prepared statements by default. Behind pgbouncer in
	// transaction mode use pgx.QueryExecModeExec (or
	// pgx.QueryExecModeSimpleProtocol).
	ExecMode pgx.QueryExecMode
	// Patience is how long a call, and Open, keeps trying while the server
	// cannot be reached, starts, or fails over, and nothing has happened
	// yet. It is spent once, whatever the call does. The end of the caller's
	// context and Close end it earlier. 0 = 10 seconds.
	Patience time.Duration
	// Logger gets a warning when notifications cannot be received; nil =
	// slog.Default().
	Logger *slog.Logger
}

func (c *Config) namespace() string {
	if c == nil || c.Namespace == "" {
		return "onceq"
	}
	return c.Namespace
}

func (c *Config) patience() time.Duration {
	if c == nil || c.Patience == 0 {
		return 10 * time.Second
	}
	return c.Patience
}

func (c *Config) validate() error {
	n := c.namespace()
	switch {
	case c.patience() < 0:
		return &onceq.InvalidError{Field: "Config.Patience", Value: c.Patience.String(),
			Rule: "must not be negative: 0 is 10 seconds"}
	case len(n) > 63:
		return &onceq.InvalidError{Field: "Config.Namespace", Value: n,
			Rule: "must be at most 63 bytes long: it is the name of a schema"}
	case !utf8.ValidString(n) || strings.ContainsRune(n, 0):
		return &onceq.InvalidError{Field: "Config.Namespace", Value: n,
			Rule: "must be valid UTF-8 without NUL: it is the name of a schema"}
	}
	return nil
}

// Store is a onceq.Store on PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	owned  bool // Open made the pool
	config Config
	sql    statements
	waker  waker
	recent recent
	floors floors
	tracer pgx.QueryTracer // of the pool; nil = none
	// waiting has room for calls that wait for a transaction. The rest of
	// the pool is for all other calls.
	waiting chan struct{}

	explicit atomic.Bool // each statement states its isolation, see settings.go

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // under way
	open   context.Context
	shut   context.CancelFunc
}

// Open connects to the database that url names, and brings the schema up to
// date unless Config.NoMigrate is set. The URL is that of pgx: all that
// libpq knows, and pool_max_conns and the like. The caller closes the
// store.
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
		pc.ConnConfig.ConnectTimeout = config.patience()
	}
	// Poolers accept these two parameters. For the others see settings.go.
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
		err = check(ctx, pool, config)
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

// New keeps jobs in a database to which the caller has connected. It does
// not migrate: see [Migrate]. Close leaves the pool open. While somebody
// waits for wake-ups a store uses one connection besides those of the pool,
// unless Config.NoListen is set.
func New(pool *pgxpool.Pool, config *Config) (*Store, error) {
	if pool == nil {
		return nil, &onceq.InvalidError{Field: "pool", Value: "nil",
			Rule: "must not be nil: make one with pgxpool.New, or use Open"}
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
	s.config.Namespace, s.config.Patience = config.namespace(), config.patience()
	pc := pool.Config().ConnConfig
	s.tracer = pc.Tracer
	if s.config.ExecMode == 0 {
		s.config.ExecMode = pc.DefaultQueryExecMode
	}
	if s.config.Logger == nil {
		s.config.Logger = slog.Default()
	}
	s.sql = loadStatements(s.config.Namespace)
	s.open, s.shut = context.WithCancel(context.Background())
	s.waker.init(s)
	return s
}

// Traits says how group commits are best sent: several at once while the
// server is slow or far. Half of the pool is left for other calls.
func (s *Store) Traits() onceq.Traits {
	return onceq.Traits{InFlight: min(8, max(2, int(s.pool.Config().MaxConns/2))), Join: 16, Blocks: true, Wake: s.Wake,
		Growth: s.growth, Info: s.info,
		Data: s.data()}
}

// data names the database and the schema.
func (s *Store) data() string {
	return fmt.Sprintf("PostgreSQL database %q, schema %q", s.pool.Config().ConnConfig.Database, s.config.namespace())
}

// Close waits for the calls that are under way and ends all wake-ups. A
// pool that was passed to New stays open. Later calls, a second Close too,
// answer onceq.ErrClosed.
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

// wrap adds what was tried to an error. Sentinels of the contract stay as
// they are.
func (s *Store) wrap(what string, err error) error {
	if err == nil || err == onceq.ErrClosed || err == onceq.ErrLeaseLost {
		return err
	}
	return fmt.Errorf("pgstore: %s: %w", what, s.explain(err))
}

//go:embed sql/*.sql
var statementFiles embed.FS

// statements are the texts of sql/ for one namespace.
type statements struct {
	look, lookup, insert, insertOne, insertAlike, act, actOne, actText, fetch, extend, finish, finishText, change,
	changeText, release, pause, resume, sweep,
	get, list, keys, queues, workers, notes, note, notify string
}

func loadStatements(namespace string) (s statements) {
	for name, to := range map[string]*string{
		"enqueue_look": &s.look, "enqueue_lookup": &s.lookup, "enqueue_insert": &s.insert,
		"enqueue_insert_one": &s.insertOne, "enqueue_insert_alike": &s.insertAlike,
		"enqueue_act": &s.act, "enqueue_act_one": &s.actOne, "enqueue_act_text": &s.actText,
		"fetch": &s.fetch, "extend": &s.extend, "finish": &s.finish, "finish_text": &s.finishText,
		"change_text": &s.changeText,
		"change":      &s.change, "release": &s.release, "pause": &s.pause, "resume": &s.resume, "sweep": &s.sweep,
		"get": &s.get, "list": &s.list, "keys": &s.keys, "queues": &s.queues,
		"workers": &s.workers, "notes": &s.notes, "note": &s.note,
		"notify": &s.notify,
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

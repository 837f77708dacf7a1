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
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("pgstore: open: %w", err) // pgx leaves the password out
	}
	if !strings.Contains(url, "pool_max_conns") {
		pc.MaxConns = max(pc.MaxConns, 10)
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "onceq"
	}
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
	return fmt.Errorf("pgstore: %s: %w", what, explainMissing(err, s.config.Namespace))
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

// query runs a statement on a connection of the pool and hands each row to each (nil = they say nothing).
func (s *Store) query(ctx context.Context, sql string, each func(*record), args ...any) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return &unsent{err}
	}
	defer conn.Release()
	if err := ctx.Err(); err != nil {
		return &unsent{err}
	}
	ctx, cancel := linger(ctx)
	defer cancel()
	return query(ctx, conn, s.config.ExecMode, sql, each, args)
}

// grace is how much longer than its caller a statement waits for its answer. It waits for no lock that long, and so the answer is mostly
// on its way: to cut the connection would make what is certain uncertain.
const grace = 250 * time.Millisecond

// linger returns a context that ends a while after ctx.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil {
		return ctx, func() {}
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var mu sync.Mutex
	var timer *time.Timer
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if longer.Err() == nil {
			timer = time.AfterFunc(grace, cancel)
		}
	})
	return longer, func() {
		stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
	}
}

// rowsQuerier is a connection or a transaction.
type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// inBinary asks for all columns in binary, rows too, which pgx would take as text. Where text is all there is, record reads that.
var inBinary = pgx.QueryResultFormats{pgx.BinaryFormatCode}

func query(ctx context.Context, q rowsQuerier, mode pgx.QueryExecMode, sql string, each func(*record), args []any) error {
	rows, err := q.Query(ctx, sql, append([]any{mode, inBinary}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	r := record{fields: rows.FieldDescriptions()}
	for rows.Next() {
		if each != nil {
			r.raw, r.at = rows.RawValues(), 0
			each(&r)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if r.err != nil {
		return &garbled{r.err}
	}
	return nil
}

// garbled is an answer that could not be read: what was asked for has happened.
type garbled struct{ error }

// unsent is a failure before anything was sent.
type unsent struct{ error }

func (e *unsent) Unwrap() error { return e.error }

// fate says what an error means for the statement that met it.
type fate uint8

const (
	final   fate = iota // nothing happened, and it would happen again
	clash               // nothing happened: others were in the way
	stopped             // nothing happened: the server was told to stop the statement, or takes a lock timeout for that
	away                // nothing happened: the server cannot be reached, or is not ready
	lost                // the answer was lost: it may have happened
)

func fateOf(err error) fate {
	var pg *pgconn.PgError
	var before *unsent
	switch {
	case errors.As(err, &before):
		if errors.As(err, &pg) {
			switch pg.Code {
			case "57P03", "57P01", "57P02", "53300": // starting up, shutting down, too many connections
				return away
			}
			return final // no such database, a wrong password
		}
		return away
	case errors.As(err, &pg):
		switch pg.Code {
		case "55P03", "40P01", "40001", "OQ001", "23505":
			return clash
		case "57014": // a lock that is granted as its timeout strikes, before the next wait: the server forgets why it was to stop
			return stopped
		case "25006": // a standby: a failover is under way
			return away
		}
		if pg.Severity == "FATAL" || pg.Severity == "PANIC" || strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08") {
			return lost // it may come after the commit
		}
		return final
	case pgconn.SafeToRetry(err):
		return away
	}
	return lost
}

const (
	// patience is how long a statement waits for a lock that somebody else has, in milliseconds; then it lets go of everything.
	patience = 20
	// waitingPatience is that of a call that is known to wait, and holds nothing else.
	waitingPatience = 100
	// reconnect is how long a call goes on when the server is not there: a restart, a failover. The call's context may be shorter.
	reconnect = 15 * time.Second
	// maxStops is how often in a row a step may be stopped: more often it is no mistake, but a statement_timeout of the role, say.
	maxStops = 3
)

// retry repeats a step that did not happen because others were in the way or the server was, and, where it is repeatable, one whose answer
// was lost. A lost answer that is not found again is onceq.ErrUncertain.
func (s *Store) retry(ctx context.Context, repeatable bool, step func() error) error {
	var since time.Time
	unsure := false
	stops := 0
	for n := 0; ; n++ {
		err := step()
		if err == nil {
			return nil
		}
		f := fateOf(err)
		switch f {
		case lost:
			unsure = true
		case stopped:
			if stops++; stops == maxStops {
				f = final
			}
		}
		_, senseless := err.(*garbled)
		fail := func(err error) error {
			if unsure {
				return fmt.Errorf("%w: %w", onceq.ErrUncertain, err)
			}
			return err
		}
		switch {
		case f == final, f == lost && !repeatable, senseless:
			return fail(err)
		case f == away || f == lost:
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) > reconnect {
				return fail(err)
			}
		}
		if s.pause(ctx, backoff(n)) != nil {
			if ctx.Err() != nil {
				return fail(fmt.Errorf("%w: %w", ctx.Err(), err))
			}
			return fail(onceq.ErrClosed)
		}
	}
}

// backoff is how long to wait before try n + 1: 1 to 50 ms and more, spread.
func backoff(n int) time.Duration {
	top := time.Millisecond << min(n, 6)
	return top/2 + rand.N(top)
}

// pause waits, unless ctx or the store ends.
func (s *Store) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.open.Done():
		return onceq.ErrClosed
	}
}

var _ onceq.Store = (*Store)(nil)

// Package redisstore is onceq's store on Redis 6.2 or later, or Valkey: a
// single server, one with Sentinels, or a cluster.
//
// A namespace lies in partitions of four keys each, which share a hash tag.
// A job lies in the partition of its key. So every step on it is one script
// on one slot: it happens as a whole or not at all, on a cluster too. With
// several partitions, a job with an ID of a caller's own cannot have a key
// that lies in another partition (see [Store.Place]); such an enqueue is
// refused. A single server has one partition unless told otherwise.
//
// What is acknowledged is as durable as the server makes it. With
// `appendfsync always` a killed server loses nothing. With `everysec` it
// may lose about the last two seconds. A failover to a replica may lose
// what the replica did not have yet (see [Config.AckReplicas]).
package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// Config says how a store is opened. The zero value is ready to use.
type Config struct {
	// Namespace is the prefix of all keys; "" = "onceq". Stores with the
	// same namespace on the same server are one store.
	Namespace string
	// Partitions is the number of parts over which the jobs are spread. It
	// is fixed at the first use of a namespace. 0 = what the namespace has;
	// for a new one 1 on a single server and DefaultClusterPartitions on a
	// cluster.
	Partitions int
	// RetentionMax is how many finished jobs a partition keeps, whatever
	// their retention says. Beyond it the oldest are pruned early, with a
	// warning. A job that holds a key, or has an ID of a caller's own, is
	// never pruned before its retention is over: if these are too many a
	// warning says so, and in the end the memory of the server is full. 0 =
	// DefaultRetentionMax.
	RetentionMax int
	// AllowEviction accepts a server that evicts keys when its memory is
	// full. Such a server may lose all jobs and keys at once.
	AllowEviction bool
	// AckReplicas makes a step that writes wait (WAIT, or WAITAOF with
	// AckAOF) until so many replicas have it. If fewer do within
	// AckTimeout, the step has happened and its error wraps
	// onceq.ErrUncertain. This makes the loss in a failover less likely; it
	// cannot exclude it.
	AckReplicas int
	// AckAOF makes a step that writes wait until it is in the append-only
	// file on the server's disk (WAITAOF; Redis 7.2 or later).
	AckAOF bool
	// AckTimeout is how long that may take; 0 = one second.
	AckTimeout time.Duration
	// Patience is how long a call, and Open, keeps trying where nothing has
	// happened yet and something may later: the server cannot be reached,
	// starts, fails over, or moves the partition. The end of the caller's
	// context and Close end it earlier. 0 = 10 seconds.
	Patience time.Duration
	Logger   *slog.Logger // nil = slog.Default()
}

// Defaults of a Config.
const (
	DefaultClusterPartitions = 24      // partitions of a new store on a cluster
	DefaultRetentionMax      = 250_000 // finished jobs that a partition keeps
	maxPartitions            = 1024
)

// Store is an onceq.Store on Redis. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	owned   bool        // Close closes the client
	conns   connections // the client, with the settings that are needed
	address string      // the server's URL, without its password
	config  Config
	parts   []*partition
	server  string // its name and version
	sender  string // names this process, in eight bytes
	channel string
	signs   [2]any // sender and channel, as arguments of a call
	dials   *dials // nil = the client is the caller's
	wakes   wakes
	listing keyListing
	late    lateness
	holders holders

	spelling spelling
	tries    atomic.Int64 // how often a call was sent; for tests

	mu      sync.Mutex
	closed  bool
	told    time.Time      // when it last warned of finished jobs that stay
	calls   sync.WaitGroup // under way
	closing chan struct{}  // closed when Close begins: calls stop waiting for an absent server
}

var _ onceq.Store = (*Store)(nil)

// New makes a store from the caller's own client: a *redis.Client (also a
// failover client), or a *redis.ClusterClient with ContextTimeoutEnabled.
// Close leaves it open.
func New(client redis.UniversalClient, config *Config) (*Store, error) {
	return NewContext(context.Background(), client, config)
}

// NewContext is New with a context for the first calls to the server.
func NewContext(ctx context.Context, client redis.UniversalClient, config *Config) (*Store, error) {
	return newStore(ctx, client, config, "")
}

func newSender() string {
	t := newToken()
	return string(t[:])
}

func newStore(ctx context.Context, client redis.UniversalClient, config *Config, address string) (*Store, error) {
	conns, err := adopt(client)
	if err != nil {
		return nil, err
	}
	s := &Store{client: client, conns: conns, address: cmp.Or(address, addressOf(client)), sender: newSender(),
		closing: make(chan struct{})}
	if config != nil {
		s.config = *config
	}
	c := &s.config
	if c.Namespace == "" {
		c.Namespace = "onceq"
	}
	if strings.ContainsAny(c.Namespace, "{}") || len(c.Namespace) > 100 {
		return nil, &onceq.InvalidError{Field: "Config.Namespace", Value: bound(c.Namespace),
			Rule: "must be at most 100 bytes, without { and }"}
	}
	if c.Partitions < 0 || c.Partitions > maxPartitions {
		return nil, &onceq.InvalidError{Field: "Config.Partitions", Value: strconv.Itoa(c.Partitions),
			Rule: "must be 0 (as it is there) to " + strconv.Itoa(maxPartitions)}
	}
	if c.RetentionMax < 0 || c.AckReplicas < 0 {
		return nil, &onceq.InvalidError{Field: "Config", Value: "",
			Rule: "must have no negative RetentionMax or AckReplicas"}
	}
	if c.RetentionMax == 0 {
		c.RetentionMax = DefaultRetentionMax
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = time.Second
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s.channel = c.Namespace + ":wake"
	s.signs = [2]any{s.sender, s.channel}
	s.wakes.init(s)
	library.add(s)
	if err = s.examine(ctx); err == nil {
		err = s.setUp(ctx)
	}
	if err != nil {
		library.remove(s)
		return nil, err
	}
	return s, nil
}

// setUp finds or makes the partitions, and brings them to the form of this
// version.
func (s *Store) setUp(ctx context.Context) error {
	want := s.config.Partitions
	if want == 0 {
		want = 1
		if _, cluster := s.client.(*redis.ClusterClient); cluster {
			want = DefaultClusterPartitions
		}
	}
	s.parts = partitions(s.config.Namespace, want)
	first := s.initTrip(0)
	if err := s.do(ctx, first); err != nil {
		return err
	}
	at := text(first.reply[0])
	p, count, ok := placeOf(at)
	if !ok || p != 0 {
		return fmt.Errorf("redisstore: what stands under namespace %q is not a store of this version (%q)",
			s.config.Namespace, at)
	}
	if count != want {
		if s.config.Partitions != 0 {
			return &onceq.InvalidError{Field: "Config.Partitions", Value: strconv.Itoa(s.config.Partitions),
				Rule: fmt.Sprintf("must be %d for namespace %q, or 0: the number of partitions is fixed at the first "+
					"use. "+
					"For another number take another namespace", count, s.config.Namespace)}
		}
		s.parts = partitions(s.config.Namespace, count)
	}
	inits := []*trip{first}
	for p := 1; p < len(s.parts); p++ {
		inits = append(inits, s.initTrip(p))
	}
	if len(inits) > 1 {
		if err := s.do(ctx, inits[1:]...); err != nil {
			return err
		}
	}
	for p, t := range inits {
		if err := s.checkInit(t); err != nil {
			return err
		}
		if form := formOf(text(t.reply[1])); form == formOld || form == formMoving {
			if err := s.upgrade(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) initTrip(p int) *trip {
	return &trip{script: luaInit, part: p, wire: &wire{token: newToken()}, args: []any{placed(p, len(s.parts))}}
}

func (s *Store) checkInit(t *trip) error {
	if t.err != nil {
		return t.err
	}
	at, form := text(t.reply[0]), formOf(text(t.reply[1]))
	if p, count, ok := placeOf(at); !ok || p != t.part || count != len(s.parts) {
		return definite(fmt.Sprintf("redisstore: partition %d of %d of namespace %q says that it is %q", t.part,
			len(s.parts), s.config.Namespace, at))
	}
	if form != formOld && form != formMoving && form != formNew {
		return fmt.Errorf("redisstore: namespace %q: %w", s.config.Namespace, noForm([]any{form}))
	}
	return nil
}

// Traits says how group commits are best sent: up to 8 at once while the
// server is far, or waits for its disk or for replicas. While trips are
// short, a second one beside the first costs more than it gains with fewer
// than 24 calls.
func (s *Store) Traits() onceq.Traits {
	return onceq.Traits{InFlight: 8, Join: 24, Place: s.Place, Wake: s.Wake, Check: s.Check, Growth: s.growth,
		Info: s.about}
}

// Partitions is the number of parts over which the jobs are spread.
func (s *Store) Partitions() int { return len(s.parts) }

// Server is the name and version of the server.
func (s *Store) Server() string { return s.server }

// Close waits for the calls that are under way and ends all wake-ups. It
// closes a client that Open made; one that was passed to New stays open.
// Later calls, a second Close too, answer onceq.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return onceq.ErrClosed
	}
	s.closed = true
	close(s.closing)
	s.mu.Unlock()

	s.wakes.listeners.Close()
	s.calls.Wait()
	var err error
	if s.owned {
		err = s.client.Close()
		s.dials.close()
	}
	library.remove(s)
	return err
}

// enter counts a call as under way until leave is called.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, onceq.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.calls.Add(1)
	return s.calls.Done, nil
}

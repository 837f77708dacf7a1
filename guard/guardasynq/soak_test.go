package guardasynq_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardasynq"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

func TestMain(m *testing.M) {
	if brokertest.Roles(dial, nil) {
		return
	}
	os.Exit(pgtest.Main(m).Run())
}

// broker is asynq for the soak.
type broker struct {
	redis  asynq.RedisClientOpt
	client *asynq.Client
}

func dial(_ context.Context, address string) (brokertest.Broker, error) {
	redis := asynq.RedisClientOpt{Addr: address, ReadTimeout: time.Second}
	return &broker{redis, asynq.NewClient(redis)}, nil
}

func (b *broker) Close() { b.client.Close() }

func (b *broker) Send(ctx context.Context, g *guard.Guard, body []byte, opts ...onceq.Option) error {
	task := asynq.NewTask(brokertest.Kind, body, asynq.MaxRetry(10_000), asynq.Queue(brokertest.Kind))
	_, err := guardasynq.NewClient(b.client, g).With(opts...).EnqueueContext(ctx, task)
	return err
}

func (b *broker) Receive(ctx context.Context, g *guard.Guard,
	handle func(ctx context.Context, body []byte) error) error {
	server := asynq.NewServer(b.redis, asynq.Config{Concurrency: 8, LogLevel: asynq.FatalLevel,
		Queues: map[string]int{brokertest.Kind: 1}, IsFailure: guardasynq.IsFailure,
		TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: 20 * time.Millisecond,
		ShutdownTimeout: 2 * time.Second,
		RetryDelayFunc:  func(int, error, *asynq.Task) time.Duration { return 50 * time.Millisecond }})
	mux := asynq.NewServeMux()
	mux.Use(guardasynq.Middleware(g))
	mux.HandleFunc(brokertest.Kind, func(ctx context.Context, task *asynq.Task) error {
		return handle(ctx, task.Payload())
	})
	if err := server.Start(mux); err != nil {
		return err
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}

// TestSoak kills producers, consumers and Redis, which keeps what it has
// acknowledged (AOF, fsync always).
func TestSoak(t *testing.T) {
	for name, store := range map[string]func(t *testing.T, broker *redistest.Server) string{
		"a store that stays": func(t *testing.T, _ *redistest.Server) string {
			return "sqlite:" + filepath.Join(t.TempDir(), "guard.db")
		},
		"a store that dies with the broker": func(_ *testing.T, broker *redistest.Server) string {
			return broker.URL() + "/1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			url := store(t, server)
			brokertest.Soak(t, brokertest.Config{Store: url, Address: server.Addr, Dial: dial,
				LosesStore: url[0] == 'r',
				Crash:      func() { server.Kill(); server.Restart() },
				Age:        func() { age(t, server) }})
		})
	}
}

// age is a minute that goes by for asynq, which waits that long until it takes a
// consumer for dead. Those that live lose their leases too.
func age(t *testing.T, server *redistest.Server) {
	t.Helper()
	const leases = "asynq:{" + brokertest.Kind + "}:lease"
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	active, err := c.ZRange(t.Context(), leases, 0, -1).Result()
	for _, task := range active {
		if err == nil {
			err = c.ZAddXX(t.Context(), leases, redis.Z{Score: 1, Member: task}).Err()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

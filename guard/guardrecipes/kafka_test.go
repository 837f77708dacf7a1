package guardrecipes_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardrecipes"
	"github.com/onceq/onceq/internal/brokertest"
)

// newKafka is a Kafka that keeps its files.
func newKafka(address, folder string) (*kfake.Cluster, error) {
	_, port, _ := strings.Cut(address, ":")
	n, _ := strconv.Atoi(port)
	return kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.DataDir(folder), kfake.SyncWrites(),
		kfake.GroupMinSessionTimeout(100*time.Millisecond), kfake.SeedTopics(4, brokertest.Kind, "dead"))
}

// serveKafka is a Kafka as a process of its own.
func serveKafka(address, folder string) error {
	if _, err := newKafka(address, folder); err != nil {
		return err
	}
	select {}
}

type kafka struct {
	address string
	tries   int
	*kgo.Client
}

func dialKafka(_ context.Context, address string) (brokertest.Broker, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RecordDeliveryTimeout(time.Second),
		kgo.ProducerLinger(0), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		return nil, err
	}
	return &kafka{address, 1_000_000, c}, nil
}

func (k *kafka) Send(ctx context.Context, g *guard.Guard, body []byte, opts ...onceq.Option) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return guardrecipes.ProduceKafka(ctx, g, k.Client, &kgo.Record{Topic: brokertest.Kind, Value: body}, opts...)
}

func (k *kafka) Receive(ctx context.Context, g *guard.Guard,
	handle func(ctx context.Context, body []byte) error) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.ConsumerGroup("mailer"),
		kgo.ConsumeTopics(brokertest.Kind), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(2*time.Second), kgo.RebalanceTimeout(2*time.Second),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer c.Close()
	return guardrecipes.ConsumeKafka(ctx, g, c, k.tries, func(ctx context.Context, r *kgo.Record) error {
		return brokertest.Recover(func() error { return handle(ctx, r.Value) })
	}, func(ctx context.Context, r *kgo.Record) error {
		return k.ProduceSync(ctx, &kgo.Record{Topic: "dead", Value: r.Value}).FirstErr()
	})
}

func kafkaStage(t *testing.T, url string) *stage {
	t.Helper()
	address := brokertest.FreeAddress(t)
	cluster, err := newKafka(address, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b, err := dialKafka(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	b.(*kafka).tries = 3
	return newStage(t, url, b)
}

// The case kafka_failure_keeps_end_frees.
func TestKafkaFailureKeepsEndFrees(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		s := kafkaStage(t, url)
		s.failureKeepsEndFrees(func() string {
			c, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.(*kafka).address), kgo.ConsumeTopics("dead"),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			s.must(err)
			defer c.Close()
			return string(c.PollRecords(t.Context(), 1).Records()[0].Value)
		})
	})
}

// A record that was not committed is read again by the next member of the group:
// it waits while the first still runs it, and does not run it again.
func TestAKafkaRecordThatIsReadAgainIsDone(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		s := kafkaStage(t, url)
		var runs atomic.Int64
		began, step := make(chan struct{}), make(chan error)
		s.sends("a")
		stop := s.receive(s.Broker, func(context.Context, []byte) error {
			runs.Add(1)
			close(began)
			return <-step
		})
		<-began
		c, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.(*kafka).address), kgo.ConsumeTopics(brokertest.Kind),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		s.must(err)
		defer c.Close()
		r := c.PollRecords(t.Context(), 1).Records()[0] // as the next owner of the partition reads it
		token := guard.Token(r.Headers[0].Value)
		if _, err := s.guard.Start(t.Context(), token); !errors.Is(err, guard.ErrBusy) {
			t.Errorf("while it runs: %v, want ErrBusy", err)
		}
		step <- nil
		s.eventually("it is done", func() bool { return s.claims() == "[completed]" })
		if _, err := s.guard.Start(t.Context(), token); !errors.Is(err, guard.ErrDone) {
			t.Errorf("afterwards: %v, want ErrDone", err)
		}
		stop()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestSoakKafka kills producers, members of the group, and the broker.
func TestSoakKafka(t *testing.T) {
	t.Parallel()
	address := brokertest.FreeAddress(t)
	brokertest.Soak(t, brokertest.Config{Store: "sqlite:" + filepath.Join(t.TempDir(), "guard.db"), Address: address,
		Dial: dialKafka, Crash: brokertest.Process(t, address, t.TempDir())})
}

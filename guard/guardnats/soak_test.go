package guardnats_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardnats"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/internal/pgtest"
)

func TestMain(m *testing.M) {
	if brokertest.Roles(dial, serve) {
		return
	}
	os.Exit(pgtest.Main(m).Run())
}

// serve is the server as a process of its own. It keeps its files, and has
// written what it acknowledges.
func serve(address, folder string) error {
	_, port, _ := strings.Cut(address, ":")
	n, _ := strconv.Atoi(port)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: folder,
		NoLog: true, NoSigs: true, SyncAlways: true})
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

// broker is JetStream for the soak.
type broker struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

func dial(ctx context.Context, address string) (brokertest.Broker, error) {
	conn, err := nats.Connect("nats://"+address, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	b := &broker{conn: conn}
	if b.js, err = jetstream.New(conn); err == nil {
		_, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "MAILS",
			Subjects: []string{brokertest.Kind}, Retention: jetstream.WorkQueuePolicy})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *broker) Close() { b.conn.Close() }

func (b *broker) Send(ctx context.Context, g *guard.Guard, body []byte, opts ...onceq.Option) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m := nats.NewMsg(brokertest.Kind)
	m.Data = body
	_, err := guardnats.Publish(ctx, g, b.js, m, opts...)
	return err
}

func (b *broker) Receive(ctx context.Context, g *guard.Guard,
	handle func(ctx context.Context, body []byte) error) error {
	const ackWait = time.Second
	var under sync.WaitGroup
	run := guardnats.Handler(g, &guardnats.Config{AckWait: ackWait, Busy: 200 * time.Millisecond,
		Retry: func(int, error) time.Duration { return 50 * time.Millisecond }},
		func(ctx context.Context, m jetstream.Msg) error {
			under.Add(1)
			defer under.Done()
			return handle(ctx, m.Data())
		})
	var consuming jetstream.ConsumeContext
	for ctx.Err() == nil { // the server may be down just now
		c, err := b.js.CreateOrUpdateConsumer(ctx, "MAILS", jetstream.ConsumerConfig{Durable: "mailer",
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 64})
		if err == nil {
			consuming, err = c.Consume(run)
		}
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	<-ctx.Done()
	if consuming != nil {
		consuming.Stop()
		<-consuming.Closed()
	}
	under.Wait()
	return nil
}

// TestSoak kills producers, consumers and the server of JetStream.
func TestSoak(t *testing.T) {
	t.Parallel()
	address := brokertest.FreeAddress(t)
	brokertest.Soak(t, brokertest.Config{Store: "sqlite:" + filepath.Join(t.TempDir(), "guard.db"), Address: address,
		Dial: dial, Crash: brokertest.Process(t, address, t.TempDir())})
}

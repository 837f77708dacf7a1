package guardrecipes_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardrecipes"
	"github.com/onceq/onceq/internal/brokertest"
)

// rabbitServer is a RabbitMQ with a folder of its own.
type rabbitServer struct {
	t    *testing.T
	url  string
	cmd  *exec.Cmd
	env  []string
	log  string
	path string
}

// startRabbit starts the RabbitMQ of the distribution.
func startRabbit(t *testing.T) *rabbitServer {
	t.Helper()
	s := &rabbitServer{t: t, path: "/usr/lib/rabbitmq/bin/rabbitmq-server"}
	if _, err := os.Stat(s.path); err != nil { // the other rabbitmq-server of Debian changes to its own user
		if s.path, err = exec.LookPath("rabbitmq-server"); err != nil {
			const why = "no rabbitmq-server was found: install one (Debian, Ubuntu: `apt-get install rabbitmq-server`)"
			if os.Getenv("ONCEQ_TEST_REQUIRE") == "1" {
				t.Fatal(why)
			}
			fmt.Fprintf(os.Stderr, "\n*** %s is SKIPPED: %s\n\n", t.Name(), why)
			t.Skip(why)
		}
	}
	folder := t.TempDir()
	s.log = filepath.Join(folder, "log")
	plugins := filepath.Join(folder, "plugins")
	if err := os.WriteFile(plugins, []byte("[].\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := func() string {
		_, port, _ := net.SplitHostPort(brokertest.FreeAddress(t))
		return port
	}
	node, epmd := port(), port()
	s.url = "amqp://guest:guest@127.0.0.1:" + node + "/"
	s.env = append(os.Environ(), "HOME="+folder, "ERL_EPMD_PORT="+epmd, "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=onceq"+node+"@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+node, "RABBITMQ_DIST_PORT="+port(), "RABBITMQ_MNESIA_BASE="+filepath.Join(folder, "data"),
		"RABBITMQ_LOG_BASE="+filepath.Join(folder, "logs"), "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_PID_FILE="+filepath.Join(folder, "pid"), "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none")
	t.Cleanup(func() {
		s.kill()
		// The daemon that names nodes, at a port of our own, ends when its node is gone.
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			end := exec.Command("epmd", "-kill")
			end.Env = s.env
			if end.Run() == nil || time.Now().After(deadline) {
				return
			}
		}
	})
	s.start()
	return s
}

func (s *rabbitServer) start() {
	s.t.Helper()
	out, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command(s.path)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		conn, err := amqp.Dial(s.url)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.log)
			s.t.Fatalf("RabbitMQ does not answer: %v\n%s", err, log)
		}
	}
}

// kill is kill -9 of the server with all that it has started.
func (s *rabbitServer) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		_ = s.cmd.Wait()
	}
}

// rabbit is a connection that is made anew when it is broken.
type rabbit struct {
	url   string
	queue string
	tries int

	deliveries, ended atomic.Int64

	mu   sync.Mutex
	conn *amqp.Connection
	ch   *amqp.Channel
}

func dialRabbit(_ context.Context, url string) (brokertest.Broker, error) {
	r := &rabbit{url: url, queue: brokertest.Kind, tries: 1_000_000}
	_, err := r.channel()
	return r, err
}

// channel is a channel in confirm mode.
func (r *rabbit) channel() (*amqp.Channel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ch != nil && !r.ch.IsClosed() {
		return r.ch, nil
	}
	if r.conn != nil {
		r.conn.Close()
	}
	var err error
	if r.conn, err = amqp.DialConfig(r.url, amqp.Config{Dial: amqp.DefaultDial(time.Second)}); err != nil {
		return nil, err
	}
	if r.ch, err = r.conn.Channel(); err != nil {
		return nil, err
	}
	for _, queue := range []struct {
		name string
		args amqp.Table
	}{
		{r.queue, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": r.queue + ".dead"}},
		{r.queue + ".dead", nil},
	} {
		if _, err := r.ch.QueueDeclare(queue.name, true, false, false, false, queue.args); err != nil {
			return nil, err
		}
	}
	return r.ch, r.ch.Confirm(false)
}

func (r *rabbit) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.Close()
	}
}

func (r *rabbit) Send(ctx context.Context, g *guard.Guard, body []byte, opts ...onceq.Option) error {
	ch, err := r.channel()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return guardrecipes.PublishRabbit(ctx, g, ch, r.queue, amqp.Publishing{Body: body}, opts...)
}

func (r *rabbit) Receive(ctx context.Context, g *guard.Guard,
	handle func(ctx context.Context, body []byte) error) error {
	var under sync.WaitGroup
	defer under.Wait()
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) { // the server may be down just now
		ch, err := r.channel()
		if err == nil {
			err = ch.Qos(8, 0, false)
		}
		if err != nil {
			continue
		}
		deliveries, err := ch.ConsumeWithContext(ctx, r.queue, "", false, false, false, false, nil)
		if err != nil {
			continue
		}
		for d := range deliveries {
			r.deliveries.Add(1)
			under.Go(func() {
				defer r.ended.Add(1)
				// An error means that the channel is closed: the message comes again.
				_ = guardrecipes.HandleRabbit(ctx, g, d, r.tries, 500*time.Millisecond,
					func(ctx context.Context, d amqp.Delivery) error {
						return brokertest.Recover(func() error { return handle(ctx, d.Body) })
					})
			})
		}
	}
	return nil
}

// TestRabbitMQ has one server for all, which takes its time to start. At the end
// it is killed.
func TestRabbitMQ(t *testing.T) {
	server := startRabbit(t)
	t.Run("cases", func(t *testing.T) {
		t.Run("rabbitmq_failure_keeps_end_frees", server.failureKeepsEndFrees)
		t.Run("a_rabbitmq_message_that_comes_again_runs_once", server.thatComesAgainRunsOnce)
	})
	t.Run("soak", func(t *testing.T) {
		brokertest.Soak(t, brokertest.Config{Store: "sqlite:" + filepath.Join(t.TempDir(), "guard.db"),
			Address: server.url, Dial: dialRabbit, Crash: func() { server.kill(); server.start() }})
	})
}

func (server *rabbitServer) failureKeepsEndFrees(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		b := &rabbit{url: server.url, queue: t.Name(), tries: 3}
		s := newStage(t, url, b)
		s.failureKeepsEndFrees(func() string {
			ch, err := b.channel()
			s.must(err)
			var d amqp.Delivery
			s.eventually("the dead letter is there", func() bool {
				var ok bool
				d, ok, err = ch.Get(b.queue+".dead", true)
				return err != nil || ok
			})
			s.must(err)
			return string(d.Body)
		})
	})
}

// A channel that is lost brings its messages again at once, while they run.
func (server *rabbitServer) thatComesAgainRunsOnce(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		b := &rabbit{url: server.url, queue: t.Name(), tries: 3}
		s := newStage(t, url, b)
		var runs atomic.Int64
		step := make(chan error)
		s.sends("a")
		s.receive(b, func(context.Context, []byte) error { runs.Add(1); return <-step })
		s.eventually("it runs", func() bool { return s.claims() == "[running]" })
		ch, err := b.channel()
		s.must(err)
		s.must(ch.Close())
		s.eventually("it was delivered again and put off", func() bool { return b.deliveries.Load() >= 3 })
		step <- nil
		s.eventually("it is done", func() bool { return s.claims() == "[completed]" })
		s.eventually("its copy was acknowledged", func() bool { return b.ended.Load() == b.deliveries.Load() })
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs of one message", n)
		}
	})
}

package redisstore

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// dials are the connections that a client of ours is about to make. It is a
// hook of that client.
//
// go-redis makes a connection in a goroutine of its own, and after enough
// failures another goroutine tries once a second. Both may outlive the
// client. So a connection that cannot be made is handed out all the same,
// as one that fails at once: the library counts no failures and starts no
// goroutine, and the first call after the server is back succeeds.
type dials struct {
	open context.Context // ends when the client is to be closed
	shut context.CancelFunc

	mu   sync.Mutex
	over bool
	busy sync.WaitGroup
}

func newDials() *dials {
	d := &dials{}
	d.open, d.shut = context.WithCancel(context.Background())
	return d
}

// attach makes a client dial through d.
func (d *dials) attach(client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(d) })
		return
	}
	client.AddHook(d)
}

// close cancels connections that are being made, and waits for them.
func (d *dials) close() {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.shut()
	d.busy.Wait()
}

// DialHook is go-redis'.
func (d *dials) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d.mu.Lock()
		if d.over {
			d.mu.Unlock()
			return failed{&net.OpError{Op: "dial", Net: network, Err: redis.ErrClosed}}, nil
		}
		d.busy.Add(1)
		d.mu.Unlock()
		defer d.busy.Done()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.open, cancel)()
		c, err := next(ctx, network, addr)
		if err != nil {
			return failed{err}, nil
		}
		return c, nil
	}
}

// ProcessHook is go-redis'.
func (d *dials) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is go-redis'.
func (d *dials) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// failed is a connection that could not be made. Whoever uses it gets the
// reason.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error)         { return 0, f.err }
func (f failed) Write([]byte) (int, error)        { return 0, f.err }
func (f failed) Close() error                     { return nil }
func (f failed) LocalAddr() net.Addr              { return nowhere{} }
func (f failed) RemoteAddr() net.Addr             { return nowhere{} }
func (f failed) SetDeadline(time.Time) error      { return nil }
func (f failed) SetReadDeadline(time.Time) error  { return nil }
func (f failed) SetWriteDeadline(time.Time) error { return nil }

// nowhere is the address of a connection that could not be made.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "none" }

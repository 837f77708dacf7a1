package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
)

// Events: a stream tells what is now, and then each change of it. All streams
// share one look at the store, so that a hundred open pages cost it no more
// than one.

const (
	mostTopics   = 20               // of a stream
	mostBehind   = 64               // events that a slow reader may be behind
	lookTimes    = 10               // a look of a kind waits for this many times as long as its last took
	lookTime     = 10 * time.Second // that a look may take
	streamTime   = time.Hour        // then the browser comes again
	streamPing   = 15 * time.Second // something is written at least so often
	streamAsk    = 5 * time.Second  // whether the token is still one
	streamWrite  = 10 * time.Second // for one event to go out
	mostStreams  = 64               // unless Config.MaxStreams says otherwise
	streamReturn = "retry: 3000\n\n"
)

// said is what a topic is now. Who may not read args gets the second form.
type said struct{ full, hidden []byte }

func (s said) form(full bool) []byte {
	if full {
		return s.full
	}
	return s.hidden
}

// looker looks at some topics for all streams.
type looker struct {
	every time.Duration // at most so often
	of    func(topic string) bool
	look  func(ctx context.Context, topics []string) (map[string]said, error)

	running  bool
	next     time.Time // when the store may be asked again
	last     map[string]said
	failures int
}

// events are the streams of a Dashboard, and what they are told.
type events struct {
	d       *Dashboard
	mu      sync.Mutex
	streams map[*stream]bool
	lookers []*looker
}

// stream is one reader.
type stream struct {
	topics []string
	full   bool              // may read args
	sent   map[string][]byte // the last of each topic
	queue  chan event
	end    context.CancelFunc // it cannot follow
}

type event struct {
	topic string
	data  []byte
}

func newEvents(d *Dashboard) *events {
	is := func(name string) func(string) bool { return func(topic string) bool { return topic == name } }
	return &events{d: d, streams: map[*stream]bool{}, lookers: []*looker{
		{every: time.Second, look: d.lookAtSome, of: func(t string) bool { return strings.Contains(t, ":") }},
		{every: 2 * time.Second, look: d.lookAtQueues, of: is("queues")},
		{every: 5 * time.Second, look: d.lookAtWorkers, of: is("workers")},
		{every: 10 * time.Second, look: d.lookAtStats, of: is("stats")},
	}}
}

// join begins a stream. It is told at once what is known of its topics.
func (e *events) join(s *stream, most int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.streams) >= most {
		return false
	}
	e.streams[s] = true
	for _, l := range e.lookers {
		if !slices.ContainsFunc(s.topics, l.of) {
			continue
		}
		if time.Now().Before(l.next) { // what is known is as young as it can be
			s.tellLocked(l.last)
		}
		if !l.running {
			l.running = true
			e.d.running.Go(func() { e.run(l) })
		}
	}
	return true
}

func (e *events) leave(s *stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, s)
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.streams)
}

// tellLocked gives a stream what it has not been told. Who is too far behind is
// ended: its browser comes again, and begins with the present.
func (s *stream) tellLocked(now map[string]said) {
	for _, topic := range s.topics {
		is, known := now[topic]
		if !known || bytes.Equal(is.form(s.full), s.sent[topic]) {
			continue
		}
		select {
		case s.queue <- event{topic, is.form(s.full)}:
			s.sent[topic] = is.form(s.full)
		default:
			s.end()
			return
		}
	}
}

// run looks while there is somebody to be told.
func (e *events) run(l *looker) {
	for {
		e.mu.Lock()
		wait := time.Until(l.next)
		e.mu.Unlock()
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-e.d.closed.Done():
			}
		}
		topics := e.wanted(l)
		if topics == nil {
			return
		}
		end, ok := e.d.live.turn(e.d.closed)
		if !ok {
			continue // it is closed
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(e.d.closed, lookTime)
		now, err := l.look(ctx, topics)
		cancel()
		end()
		e.looked(l, now, err, time.Since(began))
	}
}

// wanted is the topics that somebody wants of a looker. If there are none it has
// ended.
func (e *events) wanted(l *looker) (topics []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.streams {
		for _, topic := range s.topics {
			if l.of(topic) && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	slices.Sort(topics)
	if topics == nil || e.d.closed.Err() != nil {
		l.running = false
		return nil
	}
	return topics
}

func (e *events) looked(l *looker, now map[string]said, err error, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.next = time.Now().Add(max(l.every, lookTimes*took))
	if err != nil {
		if l.failures++; l.failures&(l.failures-1) == 0 && e.d.closed.Err() == nil {
			e.d.log.Warn("onceq: events cannot be read", "error", err, "failures", l.failures)
		}
		return
	}
	l.failures, l.last = 0, now
	for s := range e.streams {
		s.tellLocked(now)
	}
}

// lookAtSome looks at the jobs and keys that somebody watches.
func (d *Dashboard) lookAtSome(ctx context.Context, topics []string) (map[string]said, error) {
	var ids []string
	for _, topic := range topics {
		if id, ok := strings.CutPrefix(topic, "job:"); ok {
			ids = append(ids, id)
		}
	}
	now := map[string]said{}
	jobs, err := d.client.JobsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		var held *onceq.HeldKey
		if jobs[i] != nil && jobs[i].Key != nil {
			if held, err = d.held(ctx, *jobs[i].Key); err != nil {
				return nil, err
			}
		}
		if now["job:"+id], err = sayJob(id, jobs[i], held); err != nil {
			return nil, err
		}
	}
	for _, topic := range topics {
		if hex, ok := strings.CutPrefix(topic, "key:"); ok {
			key, err := onceq.ParseKey(hex)
			if err != nil {
				return nil, err
			}
			held, err := d.held(ctx, key)
			if err != nil {
				return nil, err
			}
			if now[topic], err = sayKey(key, held); err != nil {
				return nil, err
			}
		}
	}
	return now, nil
}

// held is who holds a key; nil = nobody.
func (d *Dashboard) held(ctx context.Context, key onceq.Key) (*onceq.HeldKey, error) {
	held, err := d.client.Key(ctx, key)
	if errors.Is(err, onceq.ErrNotFound) {
		return nil, nil
	}
	return held, err
}

// sayJob says a job as GET jobs/{id} does. Of one that is not kept it has the ID
// alone.
func sayJob(id string, j *onceq.JobRow, held *onceq.HeldKey) (s said, err error) {
	if j == nil {
		gone := struct {
			ID   string `json:"id"`
			Gone bool   `json:"gone"`
		}{id, true}
		return sayBoth(gone, gone)
	}
	full, hidden := *j, *j
	strip(&hidden, nil, false)
	a, b := wire.Job{Job: &full}, wire.Job{Job: &hidden}
	if held != nil {
		bare := *held
		hideKey(&bare, false)
		a.Held, b.Held = held, &bare
	}
	return sayBoth(a, b)
}

// sayKey says a key as GET keys/{key} does. Of one that is free it has the key
// alone.
func sayKey(key onceq.Key, held *onceq.HeldKey) (said, error) {
	if held == nil {
		free := struct {
			Key  onceq.Key `json:"key"`
			Free bool      `json:"free"`
		}{key, true}
		return sayBoth(free, free)
	}
	bare := *held
	hideKey(&bare, false)
	return sayBoth(held, &bare)
}

// sayBoth writes both forms of a topic.
func sayBoth(full, hidden any) (s said, err error) {
	var a, b bytes.Buffer
	err = errors.Join(wire.WriteLine(&a, full), wire.WriteLine(&b, hidden))
	return said{bytes.TrimSpace(a.Bytes()), bytes.TrimSpace(b.Bytes())}, err
}

// sayAll writes a topic that everybody may read.
func sayAll(topic string, v any) (map[string]said, error) {
	s, err := sayBoth(v, v)
	return map[string]said{topic: s}, err
}

func (d *Dashboard) lookAtQueues(ctx context.Context, topics []string) (map[string]said, error) {
	v, err := d.queues(ctx)
	if err != nil {
		return nil, err
	}
	v.Now = nil // else each look would be a change
	return sayAll(topics[0], v)
}

func (d *Dashboard) lookAtWorkers(ctx context.Context, topics []string) (map[string]said, error) {
	v, err := d.workers(ctx)
	if err != nil {
		return nil, err
	}
	return sayAll(topics[0], v)
}

func (d *Dashboard) lookAtStats(ctx context.Context, topics []string) (map[string]said, error) {
	v, err := d.statsOf(ctx, onceq.StatsRequest{})
	if err != nil {
		return nil, err
	}
	v.Now = nil
	return sayAll(topics[0], v)
}

// events answers with a stream.
func (c *call) events() error {
	topics, err := c.topics()
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(c.r.Context())
	defer end()
	s := &stream{topics: topics, full: c.mayReadArgs(), sent: map[string][]byte{}, queue: make(chan event, mostBehind),
		end: end}
	if !c.told.join(s, c.config.MaxStreams) {
		return problem("too-many-requests", fmt.Sprintf("%d streams are open already: try again", c.config.MaxStreams))
	}
	defer c.told.leave(s)
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Time{}) // nothing more is read: the server's own would end the stream
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.w.Header().Set("X-Accel-Buffering", "no") // a proxy would keep events back
	c.w.WriteHeader(http.StatusOK)
	write := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		_, err := c.w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	if !write(streamReturn) {
		return nil
	}
	over := time.NewTimer(streamTime)
	defer over.Stop()
	ping, ask := time.NewTicker(streamPing), time.NewTicker(streamAsk)
	defer ping.Stop()
	defer ask.Stop()
	for n, more := 0, true; more; {
		select {
		case e := <-s.queue:
			n++
			name, _, _ := strings.Cut(e.topic, ":")
			more = write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", n, name, e.data))
		case <-ping.C:
			more = write(": still here\n\n")
		case <-ask.C:
			if c.config.Authorize(c.r, Read) != nil || c.mayReadArgs() != s.full {
				write("event: bye\ndata: {}\n\n")
				return nil
			}
		case <-over.C:
			write("event: bye\ndata: {}\n\n")
			return nil
		case <-c.draining:
			write("event: bye\ndata: {}\n\n")
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// topics reads what a stream is to tell.
func (c *call) topics() (all []string, err error) {
	text := c.r.URL.Query().Get("topics")
	for topic := range strings.SplitSeq(text, ",") {
		name, of, named := strings.Cut(topic, ":")
		switch {
		case named && name == "job" && of != "":
			if of, err = url.PathUnescape(of); err != nil { // so that an ID may have a comma
				return nil, invalid("topics", bound(topic), "must have an ID whose percent signs are escaped")
			}
			topic = "job:" + of
		case named && name == "key":
			if _, err := onceq.ParseKey(of); err != nil {
				return nil, invalid("topics", bound(topic), "must have a key of 64 hexadecimal digits")
			}
			topic = strings.ToLower(topic)
		case !named && contains([]string{"queues", "stats", "workers"}, name):
		default:
			return nil, invalid("topics", bound(topic),
				"must be a list of queues, stats, workers, job:ID and key:HEX, with commas between")
		}
		if !slices.Contains(all, topic) {
			all = append(all, topic)
		}
	}
	if len(all) > mostTopics {
		return nil, invalid("topics", "", fmt.Sprintf("must be at most %d", mostTopics))
	}
	return all, nil
}

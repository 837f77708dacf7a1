package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// told is one event of a stream.
type told struct {
	id, name string
	data     map[string]any
	text     string
}

// reader reads a stream of a server.
type reader struct {
	t    *testing.T
	body *bufio.Scanner
	end  context.CancelFunc
}

func (w *world) stream(t *testing.T, url, topics string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/api/v1/events?topics="+topics, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &reader{t, lines, cancel}
}

// next reads the next event; ok is false at the end of the stream.
func (r *reader) next() (e told, ok bool) {
	r.t.Helper()
	for r.body.Scan() {
		name, value, _ := strings.Cut(r.body.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.text = value
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				r.t.Fatalf("%v: %s", err, value)
			}
		case "":
			if e.name != "" {
				return e, true
			}
		}
	}
	return e, false
}

// until reads events until one is as wanted.
func (r *reader) until(name string, is func(a answer) bool) told {
	r.t.Helper()
	for {
		e, ok := r.next()
		if !ok {
			r.t.Fatalf("the stream ended, and there was no such event %s", name)
		}
		if e.name == name && is(answer{json: e.data}) {
			return e
		}
	}
}

func TestEventsBeginWithThePresentAndTellEachChange(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		t.Parallel()
		w := serveOn(t, store, nil)
		s := httptest.NewServer(w)
		t.Cleanup(s.Close) // after the streams have ended
		a := w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"a,b%c","unique":true,"args":{"to":1},"queue":"q"}`),
			http.StatusCreated)
		key := a.at("job/key").(string)
		r := w.stream(t, s.URL, "queues,workers,stats,job:a%252Cb%2525c,job:none,key:"+key)
		seen := map[string]told{}
		for len(seen) < 6 { // the present, of each topic
			e, ok := r.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			name := e.name
			if e.name == "job" {
				name += fmt.Sprint(e.data["id"])
			}
			if e.id != fmt.Sprint(len(seen)+1) {
				t.Errorf("event %d has the ID %s", len(seen)+1, e.id)
			}
			seen[name] = e
		}
		for name, path := range map[string]string{"joba,b%c": "jobs/a%2Cb%25c", "key": "keys/" + key,
			"workers": "workers"} {
			if got, want := seen[name].text, strings.TrimSpace(w.ask("GET", path, "").body); got != want {
				t.Errorf("%s:\n%s\nbut GET says\n%s", name, got, want)
			}
		}
		if seen["jobnone"].text != `{"id":"none","gone":true}` {
			t.Errorf("%+v", seen)
		}
		q := answer{json: seen["queues"].data}
		if q.at("queues/0/queue") != "q" || q.at("queues/0/counts/available") != 1.0 || q.at("now") != nil {
			t.Errorf("%+v", seen["queues"])
		}
		w.is(w.ask("POST", "queues/q/pause", ""), http.StatusOK)
		r.until("queues", func(a answer) bool { return a.at("queues/0/paused") == true })
		w.is(w.ask("POST", "jobs/a%2Cb%25c/cancel", ""), http.StatusOK)
		states, free := false, false
		for !states || !free {
			e, ok := r.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			states = states || e.name == "job" && e.data["state"] == "cancelled"
			free = free || e.name == "key" && e.text == fmt.Sprintf(`{"key":%q,"free":true}`, key)
		}
		w.join("py")
		r.until("workers", func(a answer) bool { return a.at("workers/0/worker") != nil })
		w.is(w.ask("DELETE", "jobs/a%2Cb%25c", ""), http.StatusOK)
		r.until("job", func(a answer) bool { return a.at("gone") == true })
		w.Drain()
		r.until("bye", func(answer) bool { return true })
		if e, ok := r.next(); ok {
			t.Errorf("after bye: %+v", e)
		}
	})
}

// tape is an answer that is read while it is written.
type tape struct {
	mu     sync.Mutex
	header http.Header
	status int
	b      bytes.Buffer
	block  chan struct{} // nobody reads until it is closed
}

func (t *tape) Header() http.Header { return t.header }
func (t *tape) WriteHeader(s int)   { t.status = s }
func (t *tape) Flush()              {}
func (t *tape) Write(p []byte) (int, error) {
	if t.block != nil {
		<-t.block
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// listen begins a stream in a bubble. over is closed when it has ended.
func (w *world) listen(topics string, header ...string) (s *tape, end func(), over chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	s, over = &tape{header: http.Header{}}, make(chan struct{})
	r := w.request("GET", "events?topics="+topics, "", header...).WithContext(ctx)
	go func() { defer close(over); w.ServeHTTP(s, r) }()
	return s, func() { cancel(); <-over }, over
}

// looks counts the looks at a store, each of which takes a while.
type looks struct {
	onceq.Store
	n     atomic.Int64
	takes time.Duration
}

func (l *looks) look() { l.n.Add(1); time.Sleep(l.takes) }

func (l *looks) Queues(ctx context.Context, r onceq.QueuesRequest) (onceq.QueueList, error) {
	l.look()
	return l.Store.Queues(ctx, r)
}

func (l *looks) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	l.look()
	return l.Store.Get(ctx, ids)
}

func (l *looks) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	l.look()
	return l.Store.Keys(ctx, r)
}

func (l *looks) Workers(ctx context.Context) ([]onceq.WorkerInfo, error) {
	l.look()
	return l.Store.Workers(ctx)
}

func (l *looks) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	l.look()
	return l.Store.Stats(ctx, r)
}

const allTopics = "queues,workers,stats,job:a,job:b," +
	"key:00000000000000000000000000000000000000000000000000000000000000aa"

// looksOf counts the looks of some streams in ten minutes. Some of them end and
// come again meanwhile.
func looksOf(t *testing.T, streams int, takes time.Duration) (n int64) {
	synctest.Test(t, func(t *testing.T) {
		store := &looks{Store: memstore.New(nil), takes: takes}
		w := serveOn(t, store, nil)
		ends := make([]func(), streams)
		for i := range ends {
			_, ends[i], _ = w.listen(allTopics)
		}
		for minute := range 10 {
			time.Sleep(time.Minute)
			if streams > 1 {
				i := minute % streams
				ends[i]()
				_, ends[i], _ = w.listen(allTopics)
			}
		}
		n = store.n.Load()
		for _, end := range ends {
			end()
		}
		before := store.n.Load()
		time.Sleep(time.Hour)
		if after := store.n.Load(); after > before+4 { // one that was under way, of each kind
			t.Errorf("%d looks for nobody", after-before)
		}
	})
	return n
}

func TestTenStreamsCostTheStoreAsMuchAsOne(t *testing.T) {
	one, ten := looksOf(t, 1, 0), looksOf(t, 10, 0)
	if one < 600 || one > 2000 || ten > one+10 || ten < one-10 {
		t.Errorf("looks in ten minutes: %d for one stream, %d for ten", one, ten)
	}
}

func TestASlowStoreIsPolledLess(t *testing.T) {
	// Each look takes 2 s, and they come one after another: all of them together
	// keep the store busy for a tenth of the time.
	for _, streams := range []int{1, 10} {
		if n := looksOf(t, streams, 2*time.Second); n < 25 || n > 31 {
			t.Errorf("%d looks in ten minutes for %d streams", n, streams)
		}
	}
}

func TestAStreamEndsAfterAnHourAndWithItsToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(allTokens), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		tokens, err := ReadTokenFile(path) // when it was read is by the clock of the bubble
		if err != nil {
			t.Fatal(err)
		}
		w := serve(t, func(c *Config) {
			c.Authorize, c.Who, c.Login = tokens.Authorize, tokens.Who, tokens
			c.Args = ArgsHidden // so that what the reader may see does not change with the token
		})
		s, _, over := w.listen("queues")
		time.Sleep(time.Minute)
		if text := s.String(); !strings.HasPrefix(text, "retry: 3000\n\n") ||
			strings.Count(text, ": still here\n\n") < 3 {
			t.Errorf("%s", text)
		}
		time.Sleep(59*time.Minute + time.Second)
		<-over
		if !strings.HasSuffix(s.String(), "event: bye\ndata: {}\n\n") {
			t.Errorf("%s", s)
		}
		w.token = ""
		cookie, _ := w.signIn(readToken)
		s, _, over = w.listen("queues", "Cookie", cookie)
		time.Sleep(time.Minute)
		if err := os.WriteFile(path, []byte("operate "+operateToken), 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		time.Sleep(streamAsk + time.Second)
		synctest.Wait()
		select {
		case <-over:
		default:
			t.Fatal("a stream goes on without its token")
		}
		if !strings.HasSuffix(s.String(), "event: bye\ndata: {}\n\n") {
			t.Errorf("%s", s)
		}
	})
}

func TestAReaderWhoCannotFollowIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, nil)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s, over := &tape{header: http.Header{}, block: make(chan struct{})}, make(chan struct{})
		go func() {
			defer close(over)
			w.ServeHTTP(s, w.request("GET", "events?topics=queues", "").WithContext(ctx))
		}()
		for i := range mostBehind + 10 {
			w.enqueue(fmt.Sprintf(`{"kind":"mail","id":"%d"}`, i))
			time.Sleep(3 * time.Second)
		}
		close(s.block)
		<-over
		if n := strings.Count(s.String(), "event: "); n > mostBehind+1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestStreamsAreBoundedAndTopicsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, func(c *Config) { c.MaxStreams = 2 })
		_, end, _ := w.listen("queues")
		_, end2, _ := w.listen("queues")
		synctest.Wait()
		w.problem(w.ask("GET", "events?topics=queues", ""), "too-many-requests", "2 streams")
		end()
		_, end3, _ := w.listen("workers")
		synctest.Wait()
		w.problem(w.ask("GET", "events?topics=queues", ""), "too-many-requests", "2 streams")
		end2()
		end3()
		for _, topics := range []string{"", "queue", "queues,", "job:", "job:%25zz", "key:12", "jobs:1"} {
			w.problem(w.ask("GET", "events?topics="+topics, ""), "invalid", "topics")
		}
		many := make([]string, 21)
		for i := range many {
			many[i] = fmt.Sprintf("job:%d", i)
		}
		w.problem(w.ask("GET", "events?topics="+strings.Join(many, ","), ""), "invalid", "at most 20")
	})
}

// TestEventsShowWhatTheirReaderMaySee has readers of two roles at once.
func TestEventsShowWhatTheirReaderMaySee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, func(c *Config) { c.Args, c.Mask = ArgsHidden, maskMail })
		a := w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"a","unique":true,"args":{"pin":"s3cr3t","to":"ada"}}`),
			http.StatusCreated)
		topics := "job:a,key:" + a.at("job/key").(string)
		operator, end, _ := w.listen(topics)
		w.token = readToken
		reader, end2, _ := w.listen(topics)
		time.Sleep(10 * time.Second)
		for s, want := range map[*tape]int{operator: 4, reader: 0} {
			if text := s.String(); strings.Count(text, "event: ") != 2 || strings.Count(text, "ada") != want ||
				strings.Contains(text, "s3cr3t") {
				t.Errorf("%d: %s", want, text)
			}
		}
		end()
		end2()
	})
}

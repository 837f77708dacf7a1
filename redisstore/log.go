package redisstore

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// lines receives the log lines of go-redis. The library has one logger for
// the whole process and does not say which client a line is about, so a
// line goes to the Logger of each open store. While no store is open, lines
// are printed as the library would.
//
// It is set when the program starts and never again, so a program that
// calls redis.SetLogger itself wins.
type lines struct {
	mu     sync.RWMutex
	stores map[*Store]bool
	plain  *log.Logger
}

var library = &lines{stores: map[*Store]bool{}, plain: log.New(os.Stderr, "redis: ", log.LstdFlags)}

func init() { redis.SetLogger(library) }

// Printf is called by go-redis. A store that is closed meanwhile waits
// until its Logger has returned.
func (l *lines) Printf(_ context.Context, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.stores) == 0 {
		l.plain.Print(line)
		return
	}
	told := map[*slog.Logger]bool{}
	for s := range l.stores {
		if !told[s.config.Logger] {
			told[s.config.Logger] = true
			s.log(slog.LevelWarn, "onceq: the Redis client says", "line", strings.TrimPrefix(line, "redis: "))
		}
	}
}

func (l *lines) add(s *Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stores[s] = true
}

func (l *lines) remove(s *Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.stores, s)
}

// log writes a line to Config.Logger. The text is constant: what differs from
// time to time is in args. A Logger that panics does not end the process.
func (s *Store) log(level slog.Level, text string, args ...any) {
	defer func() { _ = recover() }()
	s.config.Logger.Log(context.Background(), level, text, args...)
}

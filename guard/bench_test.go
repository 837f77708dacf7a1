package guard_test

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// BenchmarkAcquire compares the claim of a message with a unique job, in turns.
// It reports how many times as long a claim takes.
func BenchmarkAcquire(b *testing.B) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(b.TempDir(), "g.db") },
		"postgres": func() string { return pgtest.URL(b) },
		"redis":    func() string { return redistest.URL(b) },
	} {
		b.Run(name, func(b *testing.B) {
			store, err := storeurl.Open(b.Context(), url())
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
			g, err := guard.New(store, &guard.Config{Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			client, err := onceq.NewClient(store, &onceq.Config{Defaults: []onceq.Option{onceq.Unique{}}})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			var n atomic.Int64
			for _, callers := range []int{1, 32} {
				b.Run(fmt.Sprint(callers), func(b *testing.B) {
					args := func() onceq.Args {
						return onceq.JSON("welcome", fmt.Appendf(nil, `{"user":%d}`, n.Add(1)))
					}
					var took [2]time.Duration
					for b.Loop() {
						for which := range took {
							began := time.Now()
							var all sync.WaitGroup
							for range callers {
								all.Go(func() {
									for range 512 / callers {
										var err error
										if which == 0 {
											_, err = client.Enqueue(b.Context(), args())
										} else {
											_, err = g.Acquire(b.Context(), args())
										}
										if err != nil {
											b.Error(err)
										}
									}
								})
							}
							all.Wait()
							took[which] += time.Since(began)
						}
					}
					b.ReportMetric(float64(took[1])/float64(took[0]), "times-as-long")
				})
			}
		})
	}
}

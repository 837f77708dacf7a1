package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

// newBenchPart is what the processes of a benchmark run: unique enqueues
// for a while, from the end of standard input on.
func newBenchPart(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "bench-part QUEUE N DURATION",
		Hidden: true,
		Args:   nArgs(3, 3),
		RunE: func(c *cobra.Command, args []string) (err error) {
			d, err := terms.ParseDuration(args[2])
			if err != nil {
				return usagef("%v", err)
			}
			s, err := a.open(c.Context(), &onceq.Config{NoTally: true})
			if err != nil {
				return err
			}
			defer func() {
				if closed := s.close(); err == nil {
					err = closed
				}
			}()
			a.printf("true\n")
			_, _ = io.Copy(io.Discard, a.in)
			var w wrote
			began := time.Now()
			for ; time.Since(began) < d; w.Jobs++ {
				at := time.Now()
				raw := fmt.Appendf(nil, `{"account":%d,"email":"somebody.%s.%08d@example.com","reason":"benchmark"}`,
					w.Jobs%977, args[1], w.Jobs)
				if _, err := s.client.Enqueue(c.Context(), onceq.JSON("onceq-bench", raw), onceq.Queue(args[0]),
					onceq.Unique{}); err != nil {
					return err
				}
				w.Longest = max(w.Longest, float64(time.Since(at).Microseconds())/1000)
			}
			w.Seconds = time.Since(began).Seconds()
			return a.printJSON(w)
		},
	}
}

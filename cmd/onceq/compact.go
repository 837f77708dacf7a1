package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq/sqlitestore"
	"github.com/onceq/onceq/storeurl"
)

func newCompact(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Give the free space of a SQLite file back to the disk",
		Long: `Give the free space of a SQLite file back to the disk: what deleted jobs
leave is otherwise kept for new ones (onceq doctor says how much it is).

Nobody else writes meanwhile, so that it is something for a quiet hour: a
gigabyte of jobs takes some seconds. It needs as much free space as the jobs
take, in the folder for temporary files and beside the file, and gives up
before a running worker could lose its lease. Ctrl-C ends it, and nothing has
changed then.

PostgreSQL (autovacuum) and Redis do it by themselves.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file := storeurl.File(a.store)
			if file == "" {
				return usagef("compact is for a SQLite file: PostgreSQL (autovacuum), Redis and a store in memory " +
					"do it by themselves")
			}
			ctx, stop := signal.NotifyContext(c.Context(), stopSignals()...)
			defer stop()
			return a.withConnection(ctx, nil, func(s *connection) error {
				return a.compact(ctx, s.store.(*sqlitestore.Store), file)
			})
		},
	}
}

func (a *app) compact(ctx context.Context, store *sqlitestore.Store, file string) error {
	done, total := int64(0), int64(1)
	p := newProgress(a, func() string {
		return fmt.Sprintf("%3d%%  %s of %s", 100*done/max(total, 1), mebibytes(done), mebibytes(total))
	})
	before := sizeOf(file)
	err := store.Compact(ctx, func(d, t int64) { done, total = d, t; p.show() })
	p.end()
	if err != nil {
		return err
	}
	after := sizeOf(file)
	switch {
	case a.json:
		return a.printJSON(struct {
			File   string `json:"file"`
			Before int64  `json:"before"`
			After  int64  `json:"after"`
		}{file, before, after})
	case before-after >= 1<<16:
		a.printf("%s had %s and has %s: %s are given back\n",
			clean(file), mebibytes(before), mebibytes(after), mebibytes(before-after))
	default:
		a.printf("%s has %s: there was nothing to give back\n", clean(file), mebibytes(after))
	}
	return nil
}

// sizeOf is how much a store's file and its log have. They are not opened:
// closing them would drop the locks that SQLite has on them.
func sizeOf(file string) (sum int64) {
	for _, name := range []string{file, file + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

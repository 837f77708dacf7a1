package pgstore

import (
	"context"
	"fmt"
	"time"
)

// From these sizes on it is worth a line.
const (
	manyDead = 100_000 // dead rows, and twice as many as living ones
	longOpen = time.Hour
)

// growth reports what keeps tables larger than their jobs need.
func (s *Store) growth(ctx context.Context) (lines []string, err error) {
	var live, dead, bytes, open, pid int64
	err = s.read(ctx, "growth", func(ctx context.Context) error {
		// Of transactions of other roles, only roles that may see them
		// learn more than that they exist.
		return s.query(ctx, `
select coalesce(t.n_live_tup, 0)::bigint, coalesce(t.n_dead_tup, 0)::bigint,
       coalesce(pg_total_relation_size(t.relid), 0)::bigint,
       coalesce(a.seconds, 0)::bigint, coalesce(a.pid, 0)::bigint
from (select 1) one
left join pg_stat_all_tables t on t.schemaname = $1 and t.relname = 'jobs'
left join lateral (
  select extract(epoch from clock_timestamp() - xact_start) as seconds, pid
  from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid() and backend_type = 'client backend'
  order by xact_start limit 1
) a on true`, func(r *record) {
			live, dead, bytes, open, pid = r.int64(), r.int64(), r.int64(), r.int64(), r.int64()
		}, s.config.Namespace)
	})
	if err != nil {
		return nil, err
	}
	return grown(live, dead, bytes, time.Duration(open)*time.Second, pid), nil
}

// grown reports what is larger than it need be. It is pure.
func grown(live, dead, bytes int64, open time.Duration, pid int64) (lines []string) {
	if dead >= manyDead && dead >= 2*live {
		lines = append(lines, fmt.Sprintf("the table of jobs has %d dead rows beside %d living ones, and takes %d "+
			"MiB: autovacuum is behind, "+
			"or a transaction that stays open keeps it from cleaning up", dead, live, bytes>>20))
	}
	if open >= longOpen {
		lines = append(lines, fmt.Sprintf("process %d of the server has had a transaction open for %v: rows that "+
			"have ended since then cannot be "+
			"cleaned up; end it (pg_terminate_backend)", pid, open.Round(time.Minute)))
	}
	return lines
}

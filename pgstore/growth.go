package pgstore

import (
	"context"
	"fmt"
	"time"
)

// What is worth a word.
const (
	manyDead = 100_000 // rows, and twice the living
	longOpen = time.Hour
)

// growth names what keeps tables larger than their jobs.
func (s *Store) growth(ctx context.Context) (lines []string, err error) {
	var live, dead, bytes, open, pid int64
	err = s.read(ctx, "growth", func() error {
		// Of transactions of other roles only those who may see them are told more than the fact.
		return s.query(ctx, `
select coalesce(t.n_live_tup, 0)::bigint, coalesce(t.n_dead_tup, 0)::bigint, coalesce(pg_total_relation_size(t.relid), 0)::bigint,
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

// grown says what is more than it need be. It is pure.
func grown(live, dead, bytes int64, open time.Duration, pid int64) (lines []string) {
	if dead >= manyDead && dead >= 2*live {
		lines = append(lines, fmt.Sprintf("the table of jobs has %d dead rows beside %d living ones, and takes %d MiB: autovacuum is behind, "+
			"or a transaction that stays open keeps it from cleaning up", dead, live, bytes>>20))
	}
	if open >= longOpen {
		lines = append(lines, fmt.Sprintf("process %d of the server has had a transaction open for %v: rows that have ended since then cannot be "+
			"cleaned up; end it (pg_terminate_backend)", pid, open.Round(time.Minute)))
	}
	return lines
}

package pgstore

import (
	"context"
	"fmt"

	"github.com/onceq/onceq"
)

// settings are those of the server, and of the connection, that the promises
// rest on.
type settings struct {
	fsync, commit, pages string // fsync, synchronous_commit, full_page_writes
	open                 bool   // the connection is not encrypted, and leaves the host
}

// info is Traits.Info.
func (s *Store) info(ctx context.Context) (info onceq.StoreInfo, err error) {
	var have settings
	err = s.read(ctx, "info", func(ctx context.Context) error {
		return s.query(ctx, `
select current_setting('server_version'), (select coalesce(max(m.version), 0)::bigint from `+
			quote(s.config.namespace())+`.migrations m),
  current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
  coalesce(not (inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1'), false)
    and not coalesce((select c.ssl from pg_stat_ssl c where c.pid = pg_backend_pid()), false)`,
			func(r *record) {
				info.Server, info.Schema = "PostgreSQL "+r.string(), fmt.Sprintf("step %d", r.int64())
				have = settings{r.string(), r.string(), r.string(), r.bool()}
			})
	})
	if err != nil {
		return onceq.StoreInfo{}, err
	}
	info.Warnings = risks(have, s.explicit.Load())
	return info, nil
}

// risks are the warnings for these settings. isolated says that the default
// isolation is above read committed. It is pure.
func risks(have settings, isolated bool) (lines []string) {
	if have.fsync == "off" {
		lines = append(lines, "fsync is off: when the machine fails, all jobs and keys can be lost. Set fsync = on.")
	}
	if have.pages == "off" {
		lines = append(lines, "full_page_writes is off: when the machine fails, pages can be left half-written. "+
			"Set full_page_writes = on.")
	}
	if have.commit == "off" {
		lines = append(lines, "synchronous_commit is off: when the server fails, the jobs that were acknowledged last "+
			"can be lost, and their keys can be taken again. Set synchronous_commit = on.")
	}
	if have.open {
		lines = append(lines, "The connection to the server is not encrypted: whoever is on the way can read the args "+
			"of jobs. Add sslmode=verify-full to the URL.")
	}
	if isolated {
		lines = append(lines, "The default isolation is above read committed: each step takes three round trips. "+
			"Set default_transaction_isolation = 'read committed' for the role.")
	}
	return lines
}

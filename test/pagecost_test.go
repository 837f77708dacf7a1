package test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

// serverRows is how many rows PostgreSQL has read of tables and indexes, told by
// connections that have ended.
func serverRows(t *testing.T, url string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	err = conn.QueryRow(t.Context(), `select (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes)::bigint +
		(select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables)::bigint`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// redisCalls is how many commands a Redis has run, those of scripts among them.
func redisCalls(t *testing.T, url string) (n int64) {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	defer c.Close()
	info, err := c.InfoMap(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info["Commandstats"] {
		var calls int64
		fmt.Sscanf(s, "calls=%d", &calls)
		n += calls
	}
	return n
}

// fileReads is how many bytes this process has read: SQLite reads pages of its
// file.
func fileReads(t *testing.T, _ string) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("this system does not say what a process reads: ", err)
	}
	fmt.Sscanf(string(text), "rchar: %d", &n)
	return n
}

// effort is what a page costs a store: what the server reads for it, with a store
// that was just opened.
func effort(t *testing.T, url string, read func(*testing.T, string) int64, step func(*onceq.Client) error) int64 {
	t.Helper()
	before := read(t, url)
	const times = 5
	store, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quietLog, NoTally: true})
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		if err := step(client); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	store.Close() // then PostgreSQL tells what its connections have read
	var last int64
	for n := range 100 { // until nothing is added any more
		now := read(t, url)
		if n > 2 && now-last < 200 {
			break
		}
		last = now
		time.Sleep(50 * time.Millisecond)
	}
	return (read(t, url) - before) / times
}

// TestQueuesAndRunningJobsCostNoMoreAtAMillionRowsThanAtTenThousand compares what
// servers read, which no load changes: rows on PostgreSQL, commands on Redis, and
// bytes of the file on SQLite. With ONCEQ_PAGES=1000000 (make pages) it is a
// million rows beside ten thousand. Else it is 30,000 beside 3,000; on PostgreSQL
// more, because it reads the whole of a small table in place of an index.
func TestQueuesAndRunningJobsCostNoMoreAtAMillionRowsThanAtTenThousand(t *testing.T) {
	onPages(t, func(t *testing.T, url string, _ *visitor, client *onceq.Client) {
		kind, _, _ := strings.Cut(url, ":")
		few, many := 3000, 30_000
		if kind != "sqlite" && kind != "redis" {
			few, many = 10_000, 100_000
		}
		if n, _ := strconv.Atoi(os.Getenv("ONCEQ_PAGES")); n > 0 {
			few, many = 10_000, n
		}
		read := map[string]func(*testing.T, string) int64{"sqlite": fileReads, "postgres": serverRows,
			"postgresql": serverRows, "redis": redisCalls}[kind]
		store, err := storeurl.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		steps := map[string]func(*onceq.Client) error{
			"queues": func(c *onceq.Client) error {
				_, err := c.QueuesUpTo(t.Context(), 1000)
				return err
			},
			"running jobs": func(c *onceq.Client) error {
				_, err := c.JobsPage(t.Context(), onceq.JobFilter{States: []onceq.State{onceq.Running}}, "")
				return err
			},
		}
		measure := func() map[string]int64 {
			vacuum(t, url)
			cost := map[string]int64{}
			for name, step := range steps {
				cost[name] = effort(t, url, read, step)
			}
			return cost
		}
		crowd(t, client, store, few)
		before := measure()
		crowd(t, client, store, many) // the first are duplicates
		for name, n := range measure() {
			t.Logf("%s: %d beside %d rows, %d beside %d", name, before[name], few, n, many)
			if n > 3*before[name]+100 {
				t.Errorf("%s cost more beside more rows", name)
			}
		}
	})
}

// vacuum lets PostgreSQL look at its tables, as its vacuum does in time.
func vacuum(t *testing.T, url string) {
	t.Helper()
	if !strings.HasPrefix(url, "postgres") {
		return
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "vacuum analyze"); err != nil {
		t.Fatal(err)
	}
}

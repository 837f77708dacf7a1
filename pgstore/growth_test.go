package pgstore_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// BenchmarkGrowth measures what each operation costs beside few jobs and
// beside many, in turns: beside ONCEQ_BIG kept ones (100,000 unless said),
// beside as many that are scheduled for later, and beside as many that are
// due and of another kind. With ONCEQ_PLANS=1 it prints the plans, as the
// server's auto_explain saw them.
//
//	ONCEQ_BIG=1000000 go test ./pgstore -run '^$' -bench Growth -benchtime 200x
func BenchmarkGrowth(b *testing.B) {
	big := 100_000
	if text := os.Getenv("ONCEQ_BIG"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		big = n
	}
	server := pgtest.Start(b, "-c", "max_wal_size=8GB")
	var sides []*side
	for _, s := range []*side{{name: "few"}, {name: "kept", kept: big}, {name: "scheduled", scheduled: big},
		{name: "others", others: big}} {
		s.kept = max(s.kept, 1000)
		s.fill(b, server.URL())
		sides = append(sides, s)
	}
	b.ResetTimer()
	for n := range b.N {
		for i := range sides { // each goes first as often as the others
			sides[(n+i)%len(sides)].cycle(b)
		}
	}
	b.StopTimer()
	for _, op := range operations {
		few := sides[0].median(op)
		b.ReportMetric(few, op+"-µs")
		for _, s := range sides[1:] {
			b.ReportMetric(s.median(op)/few, op+"-beside-"+s.name)
		}
	}
	if os.Getenv("ONCEQ_PLANS") != "" {
		for _, s := range sides {
			s.explain(b)
		}
	}
}

var operations = []string{"enqueue", "duplicate", "fetch", "finish"}

// side is a schema with some jobs in it.
type side struct {
	name                    string
	kept, scheduled, others int
	*database
	store   *pgstore.Store
	client  *onceq.Client
	next    int64
	fetches int64
	took    map[string][]time.Duration
}

func (s *side) fill(b *testing.B, url string) {
	s.database = newDatabase(b, url)
	s.took = map[string][]time.Duration{}
	s.use(b, s.open(b, func(c *pgstore.Config) { c.NoListen = true }))
	for range 10 {
		s.cycle(b) // 1,000 finished jobs
	}
	// More of the same: as the last one, but for the ID and the key.
	s.exec(b, `do $$ declare columns text := (select string_agg(case column_name
			when 'id' then $x$'0' || lpad(n::text, 25, '0')$x$
			when 'key' then $x$sha256(n::text::bytea)$x$
			else column_name end, ', ' order by ordinal_position)
			from information_schema.columns where table_schema = '`+s.schema+`' and table_name = 'jobs'); begin
		execute format('insert into {ns}.jobs select %s from (select * from {ns}.jobs order by id desc limit 1) j '
			'cross join generate_series(1, `+fmt.Sprint(s.kept-1000)+`) n', columns);
	end $$`)
	items := make([]onceq.Item, 1000)
	for n := 0; n < s.scheduled; n += len(items) {
		for i := range items {
			s.next++
			items[i] = onceq.NewItem(reindex{Repo: s.next, Reason: reason}, unique,
				onceq.Delay(24*time.Hour+time.Duration(s.next)*time.Second))
		}
		if _, err := s.client.EnqueueMany(context.Background(), items); err != nil {
			b.Fatal(err)
		}
	}
	s.insert(b, "other", "00", 1, s.others)
	s.exec(b, "vacuum analyze {ns}.jobs")
	s.exec(b, "vacuum analyze {ns}.keys")
	for range 10 {
		s.cycle(b)
	}
	s.took = map[string][]time.Duration{}
}

func (s *side) use(b *testing.B, store *pgstore.Store) {
	c, err := onceq.NewClient(store, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	s.store, s.client = store, c
	extend := onceq.ExtendRequest{Worker: "w", Lease: 24 * time.Hour}
	if _, err := store.Extend(context.Background(), extend); err != nil {
		b.Fatal(err)
	}
}

// cycle enqueues 100 unique jobs, twice, starts them and ends them.
func (s *side) cycle(b *testing.B) {
	const n = 100
	ctx := context.Background()
	items := make([]onceq.Item, n)
	for i := range items {
		s.next++
		items[i] = onceq.NewItem(reindex{Repo: s.next, Reason: reason}, unique)
	}
	for _, op := range []string{"enqueue", "duplicate"} {
		s.time(b, op, func() error { _, err := s.client.EnqueueMany(ctx, items); return err })
	}
	var got onceq.Fetched
	s.time(b, "fetch", func() (err error) {
		s.fetches++
		got, err = s.store.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: s.fetches, MaxBytes: 16 << 20,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: n}}, Kinds: []string{reindex{}.Kind()}})
		return err
	})
	if len(got.Jobs) != n {
		b.Fatalf("fetched %d jobs, want %d", len(got.Jobs), n)
	}
	ends := make([]onceq.Finish, n)
	for i, j := range got.Jobs {
		ends[i] = onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
	}
	s.time(b, "finish", func() error { _, err := s.store.Finish(ctx, onceq.FinishRequest{Runs: ends}); return err })
}

func (s *side) time(b *testing.B, op string, do func() error) {
	began := time.Now()
	if err := do(); err != nil {
		b.Fatalf("%s beside %s: %v", op, s.name, err)
	}
	s.took[op] = append(s.took[op], time.Since(began))
}

// median is in microseconds a job.
func (s *side) median(op string) float64 {
	slices.Sort(s.took[op])
	return float64(s.took[op][len(s.took[op])/2].Nanoseconds()) / 1e3 / 100
}

// explain prints the plans of one cycle on a connection whose plans are settled.
func (s *side) explain(b *testing.B) {
	plans := map[string]string{}
	var order []string
	config, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 1
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		var p struct {
			Text string `json:"Query Text"`
			Plan node
		}
		_, text, found := strings.Cut(n.Message, "plan:\n")
		if !found || json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		var plan strings.Builder
		p.Plan.write(&plan, 0)
		if !strings.Contains(plan.String(), "jobs") && !strings.Contains(plan.String(), "keys") {
			return
		}
		query := strings.ReplaceAll(strings.Join(strings.Fields(p.Text), " "), s.quoted()+".", "")
		if plans[query] == "" {
			order = append(order, query)
		}
		plans[query] = plan.String()
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `load 'auto_explain'; set auto_explain.log_min_duration = 0;
			set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on;
			set auto_explain.log_timing = off; set auto_explain.log_buffers = on;
			set auto_explain.log_format = json; set client_min_messages = log`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	store, err := pgstore.New(pool, &pgstore.Config{Namespace: s.schema, NoListen: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	s.use(b, store)
	for range 10 {
		s.cycle(b)
	}
	fmt.Printf("\nbeside %s:\n", cmp.Or(map[string]string{"few": "1,000 kept jobs"}[s.name],
		fmt.Sprintf("%d kept jobs and %d scheduled", s.kept, s.scheduled)))
	for _, query := range order {
		fmt.Printf("\n%.160s\n%s", query, plans[query])
	}
}

// node is a step of a plan.
type node struct {
	Type     string  `json:"Node Type"`
	Op       string  `json:"Operation"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Cond     string  `json:"Index Cond"`
	Function string  `json:"Function Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Hit      int     `json:"Shared Hit Blocks"`
	Read     int     `json:"Shared Read Blocks"`
	Plans    []node
}

var cast = regexp.MustCompile(`::\w+`)

func (n *node) write(w *strings.Builder, depth int) {
	if n.Relation+n.Index != "" || depth == 0 {
		fmt.Fprintf(w, "  %s%s", strings.Repeat("  ", depth), cmp.Or(n.Op, n.Type))
		for _, more := range []string{n.Relation, n.Index, cast.ReplaceAllString(n.Cond, "")} {
			if more != "" {
				fmt.Fprintf(w, " %s", more)
			}
		}
		fmt.Fprintf(w, ": %.0f rows, %.0f times, %d pages\n", n.Rows, n.Loops, n.Hit+n.Read)
		depth++
	}
	for i := range n.Plans {
		n.Plans[i].write(w, depth)
	}
}

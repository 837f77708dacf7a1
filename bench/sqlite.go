package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

func sqliteRows() []row {
	lowest, tuned, usual := openRiverSQLite(riverLowest), openRiverSQLite(riverTuned), openRiverSQLite(riverDefault)
	const oneConn = "one connection (its documentation), WAL, synchronous=FULL"
	rows := []row{
		{name: "enqueue", title: "unique enqueue, 64 callers",
			goals: []goal{{of: "rate", against: true, least: 12}}, sides: []side{
				{"onceq", "sqlitestore defaults: WAL, synchronous=FULL", opener(openSQLite).uniques(64), false},
				{"River", oneConn, usual.uniques(64), false},
				{"a mutex around single inserts", "a table of 8 columns with a unique key, a prepared statement, one " +
					"connection", opener(openMutex).uniques(64), true}}},
		{name: "batch", title: "unique batch of 1,000", goals: []goal{{of: "rate", against: true, least: 2.5}},
			sides: []side{
				{"onceq", "EnqueueMany", opener(openSQLite).batches(1), false},
				{"River", "InsertMany", usual.batches(1), false}}},
		{name: "duplicate", title: "duplicates, 1 caller", goals: []goal{{of: "rate", against: true, least: 20}},
			sides: []side{
				{"onceq", "of 1,000 waiting jobs", opener(openSQLite).duplicates(1), false},
				{"River", "of 1,000 waiting jobs", usual.duplicates(1), false}}},
		{name: "run", title: "no-op unique jobs run, 100 at once",
			goals: []goal{{of: "rate", against: true, least: 3}}, sides: []side{
				{"onceq", "worker defaults, Concurrency 100", opener(openSQLite).runs(12_000), false},
				{"River at 1 ms", "MaxWorkers 100, FetchCooldown and FetchPollInterval 1 ms, the lowest allowed",
					lowest.runs(3000), false},
				{"River at 2 ms", "MaxWorkers 100, FetchCooldown 2 ms, FetchPollInterval 20 ms, as its own benchmark",
					tuned.runs(3000), false},
				{"River", "MaxWorkers 100, else its defaults", usual.runs(1000), true}}},
		{name: "start", title: "enqueue to start, idle, one process", show: []string{"p50", "p10", "p99"},
			goals: []goal{{of: "p50", most: 0.5}}, sides: []side{
				{"onceq", "worker defaults; 10–15 ms between jobs", opener(openSQLite).latency(briefly), false},
				{"River at 1 ms", "as in the row above; 10–15 ms between jobs", lowest.latency(briefly), false},
				{"River", "defaults; 120–180 ms between jobs, longer than its cooldown", usual.latency(longer), true}}},
	}
	for _, n := range []int{2, 3, 4} {
		rows = append(rows, row{name: fmt.Sprintf("processes-%d", n),
			title: fmt.Sprintf("%d processes writing to one file", n),
			show:  []string{"rate", "slowest", "longest"}, goals: []goal{{of: "slowest", least: 0.5},
				{of: "longest", most: 150}},
			sides: []side{{"onceq", "one caller each", writers(n), false}}})
	}
	return append(rows, growth(openSQLite)...)
}

// openSQLite opens onceq on a fresh file.
func openSQLite(_ context.Context, e *env) (system, error) {
	dir, err := os.MkdirTemp(e.dir, "onceq-")
	if err != nil {
		return nil, err
	}
	store, err := sqlitestore.Open(filepath.Join(dir, "onceq.db"), nil)
	if err != nil {
		return nil, err
	}
	return newOurs(store, func() error { return os.RemoveAll(dir) })
}

func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)"
}

// mutex is what a program does without a library: a table, and one committed
// insert at a time.
type mutex struct {
	system // it does nothing else
	mu     sync.Mutex
	db     *sql.DB
	stmt   *sql.Stmt
	dir    string
}

func openMutex(ctx context.Context, e *env) (_ system, err error) {
	m := &mutex{}
	if m.dir, err = os.MkdirTemp(e.dir, "mutex-"); err != nil {
		return nil, err
	}
	if m.db, err = sql.Open("sqlite", sqliteDSN(filepath.Join(m.dir, "jobs.db"))); err != nil {
		return nil, err
	}
	m.db.SetMaxOpenConns(1)
	if _, err = m.db.ExecContext(ctx,
		`create table jobs (id integer primary key, kind text not null, queue text not null, args blob not null,
		state text not null, attempt integer not null, run_at integer not null,
		unique_key text not null unique)`); err != nil {
		return nil, err
	}
	m.stmt, err = m.db.PrepareContext(ctx, `insert into jobs (kind, queue, args, state, attempt, run_at, unique_key)
		values ('bench', 'default', ?, 'available', 0, ?, ?) on conflict do nothing`)
	return m, err
}

func (m *mutex) insert(ctx context.Context, e event) (bool, error) {
	args, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.stmt.ExecContext(ctx, args, time.Now().UnixMilli(), "bench:default:"+e.Email)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 0, err
}

func (m *mutex) close() error { return cmp.Or(m.stmt.Close(), m.db.Close(), os.RemoveAll(m.dir)) }

// wrote is what one of several processes reports.
type wrote struct {
	Jobs    int
	Took    time.Duration
	Longest time.Duration // that one enqueue took
	CPU     time.Duration
}

// writers lets n processes write to one file; each is this program.
func writers(n int) action {
	return func(ctx context.Context, e *env) (out sample, err error) {
		dir, err := os.MkdirTemp(e.dir, "onceq-")
		if err != nil {
			return out, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "onceq.db")
		store, err := sqlitestore.Open(file, nil)
		if err != nil {
			return out, err
		}
		if err := store.Close(); err != nil {
			return out, err
		}
		self, err := os.Executable()
		if err != nil {
			return out, err
		}
		type process struct {
			cmd *exec.Cmd
			in  io.Closer
			out *json.Decoder
		}
		var all []process
		defer func() {
			for _, p := range all {
				_ = p.cmd.Process.Kill() // it may have ended
				_ = p.cmd.Wait()
			}
		}()
		for i := range n {
			cmd := exec.CommandContext(ctx, self, "part", file,
				fmt.Sprint(serial.Add(1)*1000_000_000+int64(i)), e.d.String())
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				return out, err
			}
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				return out, err
			}
			if err := cmd.Start(); err != nil {
				return out, err
			}
			all = append(all, process{cmd, in, json.NewDecoder(pipe)})
		}
		for _, p := range all {
			var ready bool
			if err := p.out.Decode(&ready); err != nil {
				return out, fmt.Errorf("a writing process did not start: %w", err)
			}
		}
		for _, p := range all {
			_ = p.in.Close() // go
		}
		var rates []float64
		sum, longest := 0.0, time.Duration(0)
		for _, p := range all {
			var w wrote
			if err := p.out.Decode(&w); err != nil {
				return out, fmt.Errorf("a writing process: %w", err)
			}
			rates = append(rates, float64(w.Jobs)/w.Took.Seconds())
			sum += rates[len(rates)-1]
			longest = max(longest, w.Longest)
			out.N, out.Took, out.Client = out.N+w.Jobs, max(out.Took, w.Took), out.Client+w.CPU
		}
		out.Values = map[string]float64{"slowest": slices.Min(rates) / (sum / float64(n)),
			"longest": float64(longest.Microseconds()) / 1000}
		return out, nil
	}
}

// part is one of those processes. args are the file, the first number, and how
// long to write.
func part(ctx context.Context, file string, first int64, d time.Duration) error {
	store, err := sqlitestore.Open(file, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quiet})
	if err != nil {
		return err
	}
	defer client.Close()
	answer := json.NewEncoder(os.Stdout)
	if err := answer.Encode(true); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until all are ready
	var w wrote
	began, cpu := time.Now(), cpuTime()
	for ; time.Since(began) < d; w.Jobs++ {
		at := time.Now()
		if _, err := client.Enqueue(ctx, newEvent(first+int64(w.Jobs)), onceq.Unique{}); err != nil {
			return err
		}
		w.Longest = max(w.Longest, time.Since(at))
	}
	w.Took, w.CPU = time.Since(began), cpuTime()-cpu
	return answer.Encode(w)
}

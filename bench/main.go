// Command bench measures onceq side by side with its peers, in one run on the
// same servers: River on SQLite and PostgreSQL, asynq on Redis.
//
//	go run . -store sqlite
//
// It only measures and never fails on a figure. See README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the values of the flags.
type options struct {
	store, rows, dir, profile string
	from, chart, note         string
	rounds, big               int
	seconds                   float64
	json, alone, list         bool
	withoutBullMQ             bool
}

// store is a store to measure: one table of the report.
type store struct {
	name  string
	uses  []string                          // modules whose versions matter
	start func(dir string) (*server, error) // nil = it is in this process
	rows  func() []row
}

var stores = []store{
	{"sqlite", []string{"github.com/riverqueue/river", "modernc.org/sqlite"}, nil, sqliteRows},
	{"postgres", []string{"github.com/riverqueue/river", "github.com/jackc/pgx/v5"}, startPostgres, postgresRows},
	{"redis", []string{"github.com/hibiken/asynq", "github.com/redis/go-redis/v9"}, startRedis, redisRows},
}

func run(ctx context.Context) error {
	if len(os.Args) == 5 && os.Args[1] == "part" {
		var first int64
		d, err := time.ParseDuration(os.Args[4])
		if _, failed := fmt.Sscan(os.Args[3], &first); cmp.Or(err, failed) != nil {
			return cmp.Or(err, failed)
		}
		return part(ctx, os.Args[2], first, d)
	}
	var o options
	flag.StringVar(&o.store, "store", "all", "sqlite, postgres, redis or all")
	flag.StringVar(&o.rows, "rows", "", "only these rows, by name, with commas")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds")
	flag.Float64Var(&o.seconds, "seconds", 2, "how long each side is measured in a round")
	flag.IntVar(&o.big, "big", 1_000_000, "how many jobs the growth rows have")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where files and servers' data go: on this `folder`'s disk")
	flag.BoolVar(&o.json, "json", false, "every sample as JSON, one document a store")
	flag.StringVar(&o.from, "from", "", "measure nothing: print the tables of a `file` that -json wrote")
	flag.StringVar(&o.chart, "chart", "", "with -from: draw them too, as SVG into this `file`")
	flag.StringVar(&o.note, "note", "", "with -chart: a remark of yours at its foot")
	flag.BoolVar(&o.alone, "alone", false, "onceq only, without the peers")
	flag.BoolVar(&o.withoutBullMQ, "without-bullmq", false, "leave out BullMQ, which needs Node and npm")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a profile of this process to a `file` (with -alone and "+
		"-rows: of one operation)")
	flag.BoolVar(&o.list, "list", false, "name the rows, and end")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.seconds < 0.05 || o.big < 1000 {
		return errors.New("no arguments; -rounds of 1 and -seconds of 0.05 and -big of 1000 at least")
	}
	switch {
	case o.from != "":
		return o.again(o.from)
	case o.chart != "":
		return errors.New("-chart goes with -from: measure with -json first, into a file")
	}
	if o.store != "all" && !slices.ContainsFunc(stores, func(s store) bool { return s.name == o.store }) {
		return fmt.Errorf("-store %s: must be sqlite, postgres, redis or all", o.store)
	}
	for _, s := range stores {
		if o.store != "all" && o.store != s.name {
			continue
		}
		var err error
		switch {
		case o.list:
			for _, r := range s.rows() {
				fmt.Printf("%-9s %-15s %s\n", s.name, r.name, r.title)
			}
		case s.name == "sqlite" && !hasRiverSQLite && !o.alone:
			err = o.other(ctx)
		default:
			err = o.measure(ctx, s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// other measures the SQLite rows with this program built with the other go.mod:
// see README.md.
func (o *options) other(ctx context.Context) error {
	dir, err := os.MkdirTemp(o.dir, "onceq-bench-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	progress("building with sqlite.mod")
	build := exec.CommandContext(ctx, "go", "build", "-modfile=sqlite.mod", "-tags=riversqlite", "-o",
		dir+"/bench", ".")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build (run this in the folder bench): %w\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, dir+"/bench", append(os.Args[1:], "-store=sqlite")...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd.Run()
}

// report is the table of one store.
type report struct {
	Store    string     `json:"store"`
	Server   string     `json:"server"`
	Mode     string     `json:"persistence"`
	Fsync    float64    `json:"fsync_us"`
	Rounds   int        `json:"rounds"`
	Seconds  float64    `json:"seconds"`
	Big      int        `json:"growth_jobs"`
	Host     string     `json:"host"`
	At       time.Time  `json:"at"`
	Versions []string   `json:"versions"`
	Rows     []measured `json:"rows"`
}

func (o *options) measure(ctx context.Context, s store) (err error) {
	rows := s.rows()
	if o.withoutBullMQ {
		for i := range rows {
			rows[i].sides = slices.DeleteFunc(rows[i].sides, side.isBullMQ)
		}
	}
	if o.rows != "" {
		want := strings.Split(o.rows, ",")
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(want, r.name) })
		if len(rows) == 0 {
			return nil // the rows that were asked for are those of another store
		}
	}
	r := report{Store: s.name, Server: "SQLite in this process", Mode: "WAL, synchronous=FULL", Rounds: o.rounds,
		Seconds: o.seconds, Big: o.big, At: time.Now().UTC().Truncate(time.Second),
		Host:     fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Versions: versions(s.uses)}
	e := &env{d: time.Duration(o.seconds * float64(time.Second)), big: o.big}
	if e.dir, err = os.MkdirTemp(o.dir, "onceq-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if r.Fsync, err = fsyncMicros(e.dir); err != nil {
		return err
	}
	if s.start != nil {
		if e.server, err = s.start(o.dir); err != nil {
			return err
		}
		defer e.server.stop()
		r.Server, r.Mode = e.server.version, e.server.mode
	}
	if !o.alone && slices.ContainsFunc(rows, row.hasBullMQ) {
		version, err := bullMQVersion(ctx)
		if err != nil {
			return fmt.Errorf("%w\nwith -without-bullmq its rows are left out", err)
		}
		r.Versions = append(r.Versions, version)
	}
	defer func() {
		for _, end := range e.ends {
			end()
		}
	}()
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if r.Rows, err = o.rounded(ctx, e, rows); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	r.write(os.Stdout)
	return nil
}

// write writes the report for people.
func (r report) write(w io.Writer) {
	fmt.Fprintf(w, "## %s\n\n%s: %s. An fsync of 4 KiB takes %.0f µs on this disk. Clients and servers on one host: "+
		"%s, shared. Medians of %d rounds of %g s "+
		"a side, the sides taking turns in an order that rotates; %s. Growth rows: %s jobs. %s.\n\n", r.Store, r.Server,
		r.Mode, r.Fsync, r.Host,
		r.Rounds, r.Seconds, r.At.Format("2006-01-02 15:04 UTC"), thousands(float64(r.Big)),
		strings.Join(r.Versions, ", "))
	writeTable(w, r.Rows, r.Store != "sqlite")
}

// rounded measures all rows in every round.
func (o *options) rounded(ctx context.Context, e *env, rows []row) ([]measured, error) {
	all := make([]measured, len(rows))
	for i, r := range rows {
		if o.alone {
			r.sides = r.sides[:1]
		}
		all[i] = measured{Row: r.name, Title: r.title, Show: r.show, Samples: map[string][]sample{}, row: r}
		for _, s := range r.sides {
			all[i].Sides, all[i].Configs = append(all[i].Sides, s.name), append(all[i].Configs, s.config)
			all[i].Aside = append(all[i].Aside, s.aside)
		}
	}
	defer progress("")
	for round := range o.rounds {
		for _, m := range all {
			for n := range m.row.sides {
				s := m.row.sides[(n+round)%len(m.row.sides)]
				progress("round %d of %d: %s: %s", round+1, o.rounds, m.Title, s.name)
				sample, err := s.do(ctx, e)
				if err = cmp.Or(ctx.Err(), err); err != nil {
					return nil, fmt.Errorf("%s: %s: %w", m.Row, s.name, err)
				}
				m.Samples[s.name] = append(m.Samples[s.name], sample)
			}
		}
	}
	for i := range all {
		all[i].judge()
	}
	return all, nil
}

// versions are those of the modules that are compared.
func versions(uses []string) (all []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, d := range info.Deps {
		if slices.Contains(uses, d.Path) {
			all = append(all, d.Path+" "+d.Version)
		}
	}
	return all
}

// progress writes to standard error what is being done: on a terminal in one
// line, else a line each.
func progress(format string, args ...any) {
	info, err := os.Stderr.Stat()
	switch tty := err == nil && info.Mode()&os.ModeCharDevice != 0; {
	case tty:
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	case format != "":
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
}

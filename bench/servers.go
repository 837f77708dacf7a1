package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq/internal/pgtest"
)

// server is a private server of this run.
type server struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	dir     string
	version string
	mode    string // how durable it is
	url     string
	addr    string
	pg      *pgxpool.Pool // of the bench itself; nil = Redis
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTime is the processor time of the processes of the server, also of those
// that have ended.
func (s *server) cpuTime() (all time.Duration) {
	if s == nil {
		return 0
	}
	pids := []int{s.cmd.Process.Pid}
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, path := range children {
		text, _ := os.ReadFile(path)
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	for i, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name may contain anything
		own := ticks(fields[11:13])
		if exact := onCPU(pid); exact > 0 {
			own = exact // stat counts whole 10 ms, and would lose a third of 64 backends that did a little each
		}
		if all += own; i == 0 {
			all += ticks(fields[13:15]) // of its children that have ended
		}
	}
	return all
}

func ticks(fields []string) (all time.Duration) {
	for _, f := range fields {
		n, _ := strconv.Atoi(f)
		all += time.Duration(n) * 10 * time.Millisecond
	}
	return all
}

// onCPU is how long the threads of a process have been on a processor, in
// nanoseconds; 0 where the kernel does not say.
func onCPU(pid int) (all time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		all += time.Duration(n)
	}
	return all
}

// written is how many bytes of write-ahead log PostgreSQL has written; 0
// elsewhere.
func (s *server) written(ctx context.Context) (n int64, err error) {
	if s == nil || s.pg == nil {
		return 0, nil
	}
	err = s.pg.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").Scan(&n)
	return n, err
}

// run starts the program and waits until ready returns nil.
func (s *server) run(cmd *exec.Cmd, ready func(ctx context.Context) error) error {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func() { _ = cmd.Wait(); close(s.ended) }()
	for range 300 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err = ready(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s ended: %s", cmd.Path, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.stop()
	return fmt.Errorf("%s does not answer: %w", cmd.Path, err)
}

// stop ends the server, by its process ID, and removes its files.
func (s *server) stop() {
	if s.pg != nil {
		s.pg.Close()
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.ended
	}
	_ = os.RemoveAll(s.dir)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startPostgres starts the newest PostgreSQL of this machine with its defaults.
func startPostgres(dir string) (s *server, err error) {
	bin, err := pgtest.Programs()
	if err != nil {
		return nil, err
	}
	as, err := pgtest.Unprivileged()
	if err != nil {
		return nil, err
	}
	s = &server{mode: "fsync=on, synchronous_commit=on, its other settings as installed; 200 connections allowed"}
	if s.dir, err = os.MkdirTemp(dir, "onceq-bench-postgres-"); err != nil {
		return nil, err
	}
	if err := as.Own(s.dir); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-E",
		"UTF8", "--locale=C")
	as.Run(initdb)
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", s.dir, "-c",
		"listen_addresses=127.0.0.1",
		"-c", "max_connections=200", "-c", "fsync=on", "-c", "synchronous_commit=on")
	as.Run(cmd)
	cmd.SysProcAttr.Setpgid = true // Ctrl-C reaches this program only, which then ends the server
	if s.pg, err = pgxpool.New(context.Background(), s.url); err != nil {
		return nil, err
	}
	return s, s.run(cmd, func(ctx context.Context) error {
		return s.pg.QueryRow(ctx, "select 'PostgreSQL ' || current_setting('server_version')").Scan(&s.version)
	})
}

// startRedis starts redis-server, both sides of a row on the same one.
func startRedis(dir string) (s *server, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if path, err = exec.LookPath("valkey-server"); err != nil {
			return nil, err
		}
	}
	s = &server{mode: "appendonly yes, appendfsync everysec, no snapshots; the file is rewritten between measurements"}
	if s.dir, err = os.MkdirTemp(dir, "onceq-bench-redis-"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.Command(path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", s.dir, "--appendonly",
		"yes", "--appendfsync", "everysec",
		"--save", "", "--auto-aof-rewrite-percentage", "0", "--daemonize", "no", "--logfile", "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer client.Close()
	return s, s.run(cmd, func(ctx context.Context) error {
		info, err := client.Info(ctx, "server").Result()
		_, rest, _ := strings.Cut(info, "redis_version:")
		version, _, _ := strings.Cut(rest, "\r")
		s.version = "Redis " + version
		return err
	})
}

// fsyncMicros is the median time, in microseconds, of an fsync of 4 KiB in a
// folder.
func fsyncMicros(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var took []float64
	for range 200 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000)
	}
	return median(took), nil
}

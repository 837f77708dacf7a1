package pgstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// bouncer starts a pgbouncer in transaction mode with two server
// connections, in front of the tests' server, and returns its URL.
func bouncer(t *testing.T) string {
	t.Helper()
	server, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		const help = "no pgbouncer for tests: install it (Debian, Ubuntu: apt-get install pgbouncer); it need not run"
		if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
			t.Fatal(help)
		}
		t.Skip(help)
	}
	folder, err := os.MkdirTemp("", "onceq-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	as, err := pgtest.Unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	users := filepath.Join(folder, "users")
	login := "user=" + server.User
	if server.Password != "" {
		login += " password=" + server.Password
	}
	ini := fmt.Sprintf("[databases]\n* = host=%s port=%d "+
		"%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%d\nunix_socket_dir=\n"+
		"auth_type=any\npool_mode=transaction\ndefault_pool_size=2\nmax_client_conn=200\n"+
		"server_reset_query=\nadmin_users=postgres\n",
		server.Host, server.Port, login, port)
	for name, text := range map[string]string{users: "", filepath.Join(folder, "ini"): ini} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := as.Own(folder); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, filepath.Join(folder, "ini"))
	as.Run(cmd)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", port, server.Database)
	for range 100 {
		conn, err := pgx.Connect(context.Background(), url)
		if err == nil {
			conn.Close(context.Background())
			return url
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("pgbouncer does not answer: %s", said.String())
	return ""
}

func TestEverythingWorksBehindPgbouncerInTransactionMode(t *testing.T) {
	url := bouncer(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			d := newDatabase(t, pgtest.URL(t))
			d.url = with(t, url, "default_query_exec_mode", map[pgx.QueryExecMode]string{
				pgx.QueryExecModeExec: "exec", pgx.QueryExecModeSimpleProtocol: "simple_protocol"}[mode])
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			h := &hand{TB: t, database: d, ctx: ctx, store: d.open(t, func(c *pgstore.Config) { c.NoListen = true })}
			h.client = h.clientOf(h.store)

			hostile := onceq.JSON("task", []byte(`{"to":"\"q\\uote\" {brace} , ' \\ ü 漢"}`))
			opts := []onceq.Option{aKey, coalesce, onceq.Meta(map[string]any{"a": `x"y\z`}), onceq.Tags(`t"1`, `t,2`)}
			first := h.enqueue(onceq.Inserted, hostile, opts...)
			h.enqueue(onceq.Replaced, hostile, opts...)
			var answers []string
			for range 20 { // where duplicates are frequent they are looked for first
				r, err := h.client.Enqueue(ctx, task(2), aKey)
				h.wants(onceq.Skipped, r, err)
				answer, err := json.Marshal(r)
				h.must(err)
				answers = append(answers, string(answer))
			}
			if answers = slices.Compact(answers); len(answers) != 1 {
				t.Errorf("duplicates were answered differently: %s", answers)
			}
			h.enqueue(onceq.Inserted, onceq.Bytes("raw", []byte{0, 1, 255, '\\', '"', '(', ')'}), onceq.Priority(9))
			var items []onceq.Item
			for i := range 300 {
				items = append(items, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i%200)), onceq.Priority(9)))
			}
			receipts, err := h.client.EnqueueMany(ctx, items)
			h.must(err)
			for i, r := range receipts {
				if (r.Outcome == onceq.Inserted) != (i < 200) {
					t.Fatalf("item %d: %s", i, r.Outcome)
				}
			}
			j := h.start()
			if j.ID != first.ID || j.Meta["a"] != `x"y\z` || len(j.Tags) != 2 {
				t.Errorf("%+v", j)
			}
			h.enqueue(onceq.Coalesced, task(3), aKey, coalesce)
			results, err := h.store.Finish(ctx,
				onceq.FinishRequest{Runs: []onceq.Finish{
					{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Discarded, Error: `it "failed"` + "\x00",
						Stack: "(a,b)"}}})
			h.must(err)
			if results[0].State != onceq.Discarded || results[0].Wake != "default" {
				t.Errorf("%+v", results[0])
			}
			got, err := h.client.Job(ctx, j.ID)
			h.must(err)
			if len(got.Errors) != 1 || got.Errors[0].Error != `it "failed"`+"\x00" || got.Errors[0].Stack != "(a,b)" {
				t.Errorf("%+v", got.Errors)
			}
			h.start()
			if raw := h.start(); raw.Kind != "raw" || string(raw.Args) != string(
				[]byte{0, 1, 255, '\\', '"', '(', ')'}) {
				t.Errorf("%+v", raw)
			}
			_, err = h.client.Cancel(ctx, receipts[0].Job.ID)
			h.must(err)
			_, err = h.store.Sweep(ctx, onceq.SweepRequest{Limit: 100})
			h.must(err)
			qs, err := h.client.Queues(ctx)
			h.must(err)
			if len(qs) != 1 || qs[0].Counts[onceq.Cancelled] != 1 {
				t.Errorf("%+v", qs)
			}
			conn, err := pgx.Connect(ctx, d.url)
			h.must(err)
			defer conn.Close(ctx)
			tx, err := conn.Begin(ctx)
			h.must(err)
			r, err := h.client.WithTx(h.store.Tx(tx)).Enqueue(ctx, task(4), onceq.UniqueKey("in a transaction"))
			h.wants(onceq.Inserted, r, err)
			h.must(tx.Commit(ctx))
			h.sound()
		})
	}
}

// LISTEN seems to work behind pgbouncer, and nothing is ever heard.
func TestAListenerThatHearsNothingFindsOut(t *testing.T) {
	url := bouncer(t)
	d := newDatabase(t, pgtest.URL(t))
	d.url = with(t, url, "default_query_exec_mode", "exec")
	var said lockedBuilder
	s := d.open(t, func(c *pgstore.Config) { c.Logger = said.logger() })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wake, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(said.String(),
		"LISTEN hears nothing"); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("it said %q", said.String())
		}
	}
	// In this process wake-ups work all the same.
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Enqueue(ctx, task(1)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-wake:
	case <-time.After(5 * time.Second):
		t.Error("not woken")
	}
}

package examples

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// programOf builds an example.
func programOf(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// The programs that end by themselves print what they are about.
func TestTheSmallExamplesPrint(t *testing.T) {
	for line, want := range map[string]string{
		"coalesce": "push 1: inserted\npush 2: replaced\nindexing web at commit 2\npush 3: coalesced\n" +
			"push 4: replaced\npush 5: replaced\nindexing web at commit 5\n",
		"outbox": "paid: <nil>\nrefused: the card was refused\norders 1, mails 1\n",
		"cron -now": "tick: inserted\ntick: skipped\nthe report of sales for nightly, at the tick of [^\n]* CES?T\n" +
			"then 2026-10-23 02:30:00 \\+0200 CEST\nthen 2026-10-24 02:30:00 \\+0200 CEST\n" +
			"then 2026-10-25 02:30:00 \\+0200 CEST\nthen 2026-10-26 02:30:00 \\+0100 CET\n" +
			"then 2026-10-27 02:30:00 \\+0100 CET\n",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(line)
			cmd := exec.Command(programOf(t, words[0]), words[1:]...)
			cmd.Dir = t.TempDir()
			var log bytes.Buffer
			cmd.Stderr = &log
			out, err := cmd.Output()
			if err != nil || !regexp.MustCompile("^"+want+"$").Match(out) {
				t.Errorf("%v\n%s%s\nwant\n%s", err, out, &log, want)
			}
		})
	}
}

// A delivery that is repeated, also after a restart, is handled once; one that
// is not signed is refused.
func TestTheWebhookIsHandledOnce(t *testing.T) {
	t.Parallel()
	program, folder := programOf(t, "webhook"), t.TempDir()
	const body = `{"push":1}`
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(body))
	signature := hex.EncodeToString(mac.Sum(nil))
	handled := ""
	for n := range 2 {
		cmd := exec.Command(program, "-listen", "127.0.0.1:0", "-secret", "s3cret")
		cmd.Dir = folder
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		lines.Scan()
		at := strings.TrimPrefix(lines.Text(), "listening on ")
		send := func(delivery, signature string, want int) {
			t.Helper()
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(body))
			request.Header.Set("X-Delivery", delivery)
			request.Header.Set("X-Signature", signature)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, _ := io.ReadAll(response.Body); response.StatusCode != want {
				t.Errorf("%d %s, want %d", response.StatusCode, text, want)
			}
		}
		send("d1", "00", http.StatusForbidden)
		send("", signature, http.StatusBadRequest)
		if n == 0 {
			send("d1", signature, http.StatusAccepted)
			lines.Scan()
			handled += lines.Text() + "\n"
		}
		send("d1", signature, http.StatusOK)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for lines.Scan() {
			handled += lines.Text() + "\n"
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if handled != "handled d1: "+body+"\n" {
		t.Errorf("handled: %s", handled)
	}
}

// A request that is sent twice charges once, also after a restart, and both get the
// same answer.
func TestTheIdempotentServerChargesOnce(t *testing.T) {
	t.Parallel()
	program, folder := programOf(t, "idempotent"), t.TempDir()
	charged := ""
	for range 2 {
		cmd := exec.Command(program, "-listen", "127.0.0.1:0")
		cmd.Dir = folder
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		lines.Scan()
		at := strings.TrimPrefix(lines.Text(), "listening on ") + "/charges"
		for range 2 {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader("cents=995"))
			request.SetBasicAuth("ann", "")
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Idempotency-Key", "order-7")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != http.StatusCreated || string(text) != "charge 1\n" {
				t.Errorf("%d %s", response.StatusCode, text)
			}
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for lines.Scan() {
			charged += lines.Text() + "\n"
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if charged != "charge 1: 995 cents\n" {
		t.Errorf("charged: %s", charged)
	}
}

// An example that is longer is not read.
func TestASmallExampleHasAtMost120Lines(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	if err != nil || len(files) < 9 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > 120 && filepath.Dir(path) != "service" {
			t.Errorf("%s has %d lines", path, n)
		}
	}
}

//go:build linux

package test

import (
	"bytes"
	"debug/elf"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func deployFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stepOf is what stands behind a word at the beginning of a line of the Dockerfile.
func stepOf(t *testing.T, file, word string) string {
	t.Helper()
	m := regexp.MustCompile("(?m)^"+word+" (.*)$").FindAllStringSubmatch(file, -1)
	if len(m) == 0 {
		t.Fatalf("the Dockerfile has no %s", word)
	}
	return m[len(m)-1][1]
}

// The image is built without an engine: its RUN step makes a binary that needs
// nothing but itself. Alone in an empty root, as the user of the image, it does
// what ENTRYPOINT and CMD say, answers the probes of kubernetes.yaml, and ends on
// SIGTERM within the time that all three files give it.
func TestTheImageServesAsAnyUserInAnEmptyFolder(t *testing.T) {
	t.Parallel()
	docker := deployFile(t, "Dockerfile")
	folder := t.TempDir()
	binary := filepath.Join(folder, "onceq")
	build := exec.Command("sh", "-c", strings.Replace(stepOf(t, docker, "RUN"), " /onceq ", " '"+binary+"' ", 1))
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the binary needs a loader, and the image has none")
	}
	if stepOf(t, docker, "ENTRYPOINT")+stepOf(t, docker, "CMD") != `["/onceq"]["serve"]` ||
		stepOf(t, docker, "USER") != "65532:65532" || !strings.HasSuffix(stepOf(t, docker, "FROM"), ":nonroot") {
		t.Error("the image does not run onceq serve as a user without rights")
	}
	if os.Getuid() != 0 {
		t.Log("only root can change the root folder: the binary is run where it is")
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/onceq", "serve")
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: folder, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	} else {
		cmd.Path, cmd.Dir = binary, folder
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd.Env = []string{strings.Replace(stepOf(t, docker, "ENV"), ":8080", address, 1), "ONCEQ_TOKEN=" +
		strings.Repeat("s3cret", 6), "ONCEQ_STORE=sqlite:jobs.db"}
	served(t, cmd, "http://"+address)
}

// served starts a server, asks its probes, and ends it.
func served(t *testing.T, cmd *exec.Cmd, at string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	for _, probe := range probes(t) {
		status := 0
		for deadline := time.Now().Add(20 * time.Second); status != http.StatusOK; time.Sleep(20 * time.Millisecond) {
			if response, err := http.Get(at + probe); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				status = response.StatusCode
			}
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
				<-ended
				t.Fatalf("%s answers %d\n%s", probe, status, &said)
			}
		}
	}
	if response, err := http.Get(at + "/api/v1/jobs"); err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %v %v", response, err)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, &said)
		}
	case <-time.After(30 * time.Second):
		t.Error("it did not end within 30 seconds")
	}
}

// deployments are the objects of kubernetes.yaml, by name.
func deployments(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	decoder := yaml.NewDecoder(strings.NewReader(deployFile(t, "kubernetes.yaml")))
	for {
		var object map[string]any
		if err := decoder.Decode(&object); err != nil {
			if err == io.EOF {
				return all
			}
			t.Fatal(err)
		}
		all[object["kind"].(string)+" "+at(object, "metadata", "name").(string)] = object
	}
}

// at is the value that the names lead to; a number leads into a list.
func at(v any, names ...any) any {
	for _, n := range names {
		switch n := n.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[n]
		case int:
			list, _ := v.([]any)
			v = list[n]
		}
	}
	return v
}

func probes(t *testing.T) (paths []string) {
	t.Helper()
	container := at(deployments(t)["Deployment onceq-serve"], "spec", "template", "spec", "containers", 0)
	for _, probe := range []string{"livenessProbe", "readinessProbe"} {
		path, _ := at(container, probe, "httpGet", "path").(string)
		paths = append(paths, path)
	}
	return paths
}

// What a pod selects, reads and starts is there, and it has the time to end.
func TestTheKubernetesExampleFitsTogether(t *testing.T) {
	all := deployments(t)
	for _, name := range []string{"Deployment onceq-serve", "Deployment onceq-work"} {
		spec := at(all[name], "spec", "template", "spec")
		if grace, _ := at(spec, "terminationGracePeriodSeconds").(int); grace < 30 {
			t.Errorf("%s has %d seconds to end", name, grace)
		}
		if at(spec, "securityContext", "runAsNonRoot") != true {
			t.Errorf("%s may run as root", name)
		}
		app := at(all[name], "spec", "selector", "matchLabels", "app")
		if app == nil || app != at(all[name], "spec", "template", "metadata", "labels", "app") {
			t.Errorf("%s does not select its own pods", name)
		}
		var words []string
		for _, member := range []string{"command", "args"} {
			list, _ := at(spec, "containers", 0, member).([]any)
			for _, w := range list {
				words = append(words, w.(string))
			}
		}
		accepted(t, name, words)
	}
	if at(all["Service onceq-serve"], "spec", "selector", "app") != "onceq-serve" {
		t.Error("the service selects other pods")
	}
	if !slices.Equal(probes(t), []string{"/healthz", "/readyz"}) {
		t.Error(probes(t))
	}
}

// accepted checks a command line with the command itself: --help behind it prints
// the help only if all that stands before it is understood.
func accepted(t *testing.T, where string, words []string) {
	t.Helper()
	if len(words) == 0 {
		t.Errorf("%s starts nothing", where)
		return
	}
	if filepath.Base(words[0]) == "onceq" {
		words = words[1:]
	}
	cmd := exec.Command("go", append(append([]string{"run", "./cmd/onceq"}, words...), "--help")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Usage:\n  onceq "+words[0])) {
		t.Errorf("%s starts onceq %q: %v\n%s", where, words, err, out)
	}
}

// The units say what the command understands, and leave it the time to end.
// systemd itself checks them where it is installed.
func TestTheUnitsAreUnderstood(t *testing.T) {
	for name, verb := range map[string]string{"onceq-serve.service": "serve", "onceq-work.service": "work"} {
		text := deployFile(t, name)
		line := regexp.MustCompile("(?m)^ExecStart=/usr/local/bin/onceq (.*)$").FindStringSubmatch(text)
		if line == nil || !strings.HasPrefix(line[1], verb+" ") || !strings.Contains(text, "\nTimeoutStopSec=30\n") ||
			(verb == "work") != strings.Contains(text, "\nKillMode=mixed\n") {
			t.Errorf("%s:\n%s", name, text)
			continue
		}
		accepted(t, name, strings.Fields(line[1]))
		verify, err := exec.LookPath("systemd-analyze")
		if err != nil {
			continue
		}
		unit := filepath.Join(t.TempDir(), name)
		text = strings.Replace(text, "/usr/local/bin/onceq", "/bin/true", 1) // it must be there
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(verify, "verify", "--man=no", unit).CombinedOutput(); err != nil ||
			bytes.Contains(out, []byte(name+":")) {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

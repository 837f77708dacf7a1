package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bullMQ measures BullMQ, in a process of Node that does as measure.go does and
// counts for itself: no call crosses from one process to the other.
type bullMQ struct {
	Do      string `json:"do"`
	Callers int    `json:"callers,omitempty"`
	Jobs    int    `json:"jobs,omitempty"`
	Ms      int64  `json:"ms"`
	First   int64  `json:"first"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	DB      int    `json:"db"`
}

const bullMQFolder = "bullmq"

// bullMQVersion is what is installed in bullMQFolder. It installs what is locked
// there if it was not yet.
func bullMQVersion(ctx context.Context) (string, error) {
	manifest := filepath.Join(bullMQFolder, "node_modules", "bullmq", "package.json")
	if _, err := os.Stat(manifest); err != nil {
		progress("npm ci in %s", bullMQFolder)
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = bullMQFolder
		if out, err := npm.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm ci (run this in the folder bench): %w\n%s", err, out)
		}
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		return "", err
	}
	var m struct{ Version string }
	err = json.Unmarshal(text, &m)
	node, failed := exec.CommandContext(ctx, "node", "--version").Output()
	return "bullmq v" + m.Version + " on Node " + strings.TrimSpace(string(node)), cmp.Or(err, failed)
}

func (s side) isBullMQ() bool { return s.name == "BullMQ" }

func (r row) hasBullMQ() bool { return slices.ContainsFunc(r.sides, side.isBullMQ) }

func (q bullMQ) action(ctx context.Context, e *env) (out sample, err error) {
	host, port, err := net.SplitHostPort(e.server.addr)
	if err != nil {
		return out, err
	}
	q.Host, q.DB, q.Ms = host, 14, e.d.Milliseconds()
	q.Port, _ = strconv.Atoi(port)
	q.First = serial.Add(10_000_000) - 10_000_000
	if q.Jobs > 0 {
		q.Jobs = max(1000, int(e.d.Seconds()*float64(q.Jobs))/1000*1000)
	}
	redis := connected(e.server.addr, q.DB)
	defer redis.Close()
	if err := empty(ctx, redis); err != nil {
		return out, err
	}
	defer func() { err = cmp.Or(err, empty(context.WithoutCancel(ctx), redis)) }()
	ask, err := json.Marshal(q)
	if err != nil {
		return out, err
	}
	node := exec.CommandContext(ctx, "node", "bench.mjs", string(ask))
	node.Dir, node.Stderr, node.Env = bullMQFolder, os.Stderr, append(os.Environ(), "NODE_ENV=production")
	lines, err := node.StdoutPipe()
	if err != nil {
		return out, err
	}
	if err := node.Start(); err != nil {
		return out, err
	}
	out, err = q.read(e, bufio.NewScanner(lines))
	return out, cmp.Or(err, node.Wait())
}

// read reads what the process of Node prints, and the server's clock besides.
func (q bullMQ) read(e *env, lines *bufio.Scanner) (out sample, err error) {
	lines.Buffer(nil, 1<<24)
	if !lines.Scan() || lines.Text() != "begin" {
		return out, errors.New("BullMQ did not begin")
	}
	before := e.server.cpuTime()
	if !lines.Scan() {
		return out, errors.New("BullMQ did not end")
	}
	used := e.server.cpuTime() - before
	var got struct {
		N            int
		Took, Client time.Duration
		Samples      []float64
	}
	if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
		return out, err
	}
	if len(got.Samples) > 0 {
		slices.Sort(got.Samples)
		out.Values = quantiles(got.Samples)
	}
	if q.Do == "latency" {
		return out, nil
	}
	if got.N == 0 {
		return out, fmt.Errorf("nothing was done in %v: use more -seconds", e.d)
	}
	out.N, out.Took, out.Client, out.Server = got.N, got.Took, got.Client, used
	return out, nil
}

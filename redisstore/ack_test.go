package redisstore

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// TestWithAckAOFAnAnswerMeansThatTheJobIsOnDisk: and where a replica is to
// have it that does not, the answer is uncertain, and the job exists. A
// server that is too old for it is refused.
func TestWithAckAOFAnAnswerMeansThatTheJobIsOnDisk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	if product, version, _ := strings.Cut(open(t, server.URL(), Config{}).Server(), " "); product == "Redis" &&
		!atLeast(version, 7, 2) {
		if _, err := Open(t.Context(), server.URL(), &Config{AckAOF: true, Logger: quiet}); err == nil ||
			!strings.Contains(err.Error(), "7.2") {
			t.Errorf("AckAOF on Redis %s: %v", version, err)
		}
		return
	}
	patient := open(t, server.URL(), Config{AckAOF: true, AckTimeout: 10 * time.Second})
	for n := range 3 {
		r, err := clientOf(t, patient).Enqueue(t.Context(), task{n}, onceq.Unique{})
		if err != nil || r.Outcome != onceq.Inserted {
			t.Errorf("%v, %v", r.Outcome, err)
		}
	}
	if stats := server.Do("info", "commandstats").(string); !strings.Contains(stats, "cmdstat_waitaof:calls=") {
		t.Error("WAITAOF was not called")
	}
	alone := open(t, server.URL(), Config{AckAOF: true, AckReplicas: 1, AckTimeout: 50 * time.Millisecond})
	_, err := clientOf(t, alone).Enqueue(t.Context(), task{10}, onceq.Unique{})
	var uncertain *onceq.UncertainError
	if !errors.As(err, &uncertain) {
		t.Fatalf("without a replica: %v, want an uncertain answer", err)
	}
	if jobs, err := patient.Get(t.Context(), []string{uncertain.ID}); err != nil || jobs[0] == nil {
		t.Errorf("the job: %v, %v", jobs, err)
	}
}

// TestAcknowledgementsOfReplicas: too few of them and the step is
// uncertain, but it has happened.
func TestAcknowledgementsOfReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(server.Addr)
	replica := redistest.Start(t, "--replicaof", host, port)
	for !strings.Contains(server.Do("info", "replication").(string), "state=online") {
		time.Sleep(10 * time.Millisecond)
	}
	s := open(t, server.URL(), Config{AckReplicas: 1, AckTimeout: 20 * time.Second, Partitions: 2})
	c := clientOf(t, s)
	hasty := open(t, server.URL(), Config{AckReplicas: 1, AckTimeout: 20 * time.Second})
	if r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{}); err != nil || r.Outcome != onceq.Inserted {
		t.Fatal(r.Outcome, err)
	}
	if _, err := c.EnqueueMany(t.Context(), items(500, 100)); err != nil {
		t.Fatal(err)
	}
	replica.Kill()
	hasty.config.AckTimeout = 200 * time.Millisecond
	rows := []onceq.NewRow{{ID: "mine", Kind: "k", Queue: "q", MaxAttempts: 1, Retention: time.Hour}}
	_, err := hasty.Enqueue(t.Context(), onceq.EnqueueRequest{Rows: rows})
	if !errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("%v, want it to be uncertain and to say how many replicas have it", err)
	}
	if j, err := s.Get(t.Context(), []string{"mine"}); err != nil || j[0] == nil {
		t.Error("the job does not exist", err)
	}
}

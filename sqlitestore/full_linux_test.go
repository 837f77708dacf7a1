package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// smallDisk is a folder on a disk of its own. Only the administrator can
// make one.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
			t.Fatal("a disk of its own cannot be mounted: ", err)
		}
		t.Skip("a disk of its own cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk writes a file until the disk is full to the last byte.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
	f.Close()
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Error(err)
		}
	}
}

// On a disk that another program has filled every error is definite, and
// all that was acknowledged is done when there is room again.
func TestNothingIsLostOnADiskThatIsFullForAWhile(t *testing.T) {
	dir := smallDisk(t, 32)
	s := opened(t, filepath.Join(dir, "jobs.db"))
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	args := []byte(`"` + strings.Repeat("x", 4<<10) + `"`)
	var mu sync.Mutex
	runs, acknowledged := map[string]int{}, map[string]bool{}
	w, err := onceq.NewWorker(s, &onceq.WorkerConfig{PollInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.HandleAny(func(_ context.Context, j *onceq.JobRow) error {
		mu.Lock()
		defer mu.Unlock()
		runs[j.ID]++
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	begin := func() { go func() { ended <- w.Run(ctx) }() }

	enqueue := func(name string, n int) (refused int) {
		for i := range n {
			id := fmt.Sprint(name, i)
			_, err := c.Enqueue(t.Context(), onceq.JSON("event", args), onceq.ID(id), onceq.UniqueKey(id))
			switch {
			case err == nil:
				acknowledged[id] = true
			case errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "full"):
				t.Fatal(err)
			default:
				refused++
			}
		}
		return refused
	}
	if n := enqueue("before", 200); n != 0 {
		t.Fatalf("%d enqueues were refused on an empty disk", n)
	}
	free := fillDisk(t, dir)
	begin()
	// The first enqueues find some room in the log.
	for batch := 0; enqueue(fmt.Sprint("meanwhile", batch, "-"), 50) < 50; batch++ {
	}
	for id := range acknowledged {
		if j, err := c.Job(t.Context(), id); err != nil {
			t.Fatalf("an acknowledged job is not there: %v %v", j, err)
		}
	}
	free()
	enqueue("after", 10)
	deadline := time.Now().Add(2 * time.Minute)
	for done := 0; done < len(acknowledged); time.Sleep(20 * time.Millisecond) {
		done = 0
		for id := range acknowledged {
			if j, err := c.Job(t.Context(), id); err != nil {
				t.Fatal(err)
			} else if j.State == onceq.Completed {
				done++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d jobs are done", done, len(acknowledged))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for id := range runs {
		if !acknowledged[id] {
			t.Errorf("job %s ran, and its enqueue was refused", id)
		}
	}
	if r, err := c.Doctor(t.Context(), nil); err != nil || len(r.Violations) > 0 {
		t.Error(r, err)
	}
}

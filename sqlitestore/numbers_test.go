package sqlitestore

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// What stands in files that are there: a new value takes the next number,
// none ever changes.
func TestNumbersThatAreOnDiskNeverChange(t *testing.T) {
	t.Parallel()
	if want := []onceq.State{"scheduled", "retryable", "running", "completed", "discarded",
		"cancelled"}; !slices.Equal(states[:], want) {
		t.Errorf("states are stored as the indexes of %q, want %q", states, want)
	}
	if want := []onceq.Outcome{"inserted", "coalesced", "superseded"}; !slices.Equal(origins[:], want) {
		t.Errorf("origins are stored as the indexes of %q, want %q", origins, want)
	}
}

// The packed terms of jobs, as they stand in files that are there.
func TestTermsThatAreOnDiskAreReadAndWrittenTheSame(t *testing.T) {
	t.Parallel()
	key := &onceq.Key{1}
	var nonce, digest [16]byte
	for i := range nonce {
		nonce[i], digest[i] = byte(i), byte(0xf0+i)
	}
	for _, c := range []struct {
		job  onceq.JobRow
		want string
	}{
		{onceq.JobRow{Encoding: "json", Origin: "inserted", MaxAttempts: 25, Retention: 24 * time.Hour,
			RetentionFailed: 24 * time.Hour},
			"010000" + "19" + "00" + "80b89929" + "000102030405060708090a0b0c0d0e0f"},
		{onceq.JobRow{Encoding: "bytes", Origin: "coalesced", MaxAttempts: 1, Timeout: time.Second, Keyless: true,
			CancelRequested: true, Key: key, Digest: digest,
			Hold: onceq.Hold{Until: onceq.UntilFailed, Window: time.Minute, TTL: time.Hour, FromEnqueue: true}},
			"011f01" + "01" + "e807" + "00" + "000102030405060708090a0b0c0d0e0f" + "05" + "e0d403" + "80dddb01" +
				"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"},
		{onceq.JobRow{Encoding: "json", Origin: "superseded", MaxAttempts: 3, Key: key,
			Hold: onceq.Hold{Until: onceq.UntilFinished}},
			"011002" + "03" + "00" + "00" + "000102030405060708090a0b0c0d0e0f" + "03" + "00" + "00" +
				"00000000000000000000000000000000"},
	} {
		j := &job{Job: &rules.Job{JobRow: c.job, Nonce: nonce}}
		packed := j.packTerms()
		if got := hex.EncodeToString(packed); got != c.want {
			t.Errorf("%+v is packed as\n%s, and stands in files as\n%s", c.job, got, c.want)
		}
		raw, _ := hex.DecodeString(c.want)
		back := &job{Job: &rules.Job{JobRow: onceq.JobRow{Key: c.job.Key}}}
		if err := back.unpackTerms(raw); err != nil {
			t.Error(err)
		}
		if got, want := fmt.Sprintf("%+v", back.JobRow), fmt.Sprintf("%+v", c.job); got != want || back.Nonce != nonce {
			t.Errorf("it is read as\n%s, want\n%s", got, want)
		}
	}
}

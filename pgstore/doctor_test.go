package pgstore_test

import (
	"testing"

	"github.com/onceq/onceq"
)

// The store's own numbers are read, in each way of asking, and of a small
// store there is nothing to say.
func TestTheDoctorAsksForGrowth(t *testing.T) {
	h := open(t)
	client, err := onceq.NewClient(h.Store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	report, err := client.Doctor(t.Context(), nil)
	if err != nil || len(report.Growth) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

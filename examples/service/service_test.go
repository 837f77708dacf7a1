package main

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
)

func TestTheServiceHandlesADeliveryAndAPaymentOnce(t *testing.T) {
	s := service{quiet: time.Hour}
	if err := s.open(t.Context(), "sqlite::memory:"); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for range 2 {
		hook := httptest.NewRequest("POST", "/hooks/onceq?after=c0ffee", nil)
		hook.Header.Set("X-GitHub-Delivery", "1")
		s.routes().ServeHTTP(httptest.NewRecorder(), hook)
		s.routes().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/payments?order=7&cents=995", nil))
	}
	if ran := onceqtest.Drain(t, s.worker); len(ran) != 4 {
		t.Errorf("%d runs, want one each of delivery, reindex, preview and payment", len(ran))
	}
	onceqtest.RequireEnqueued(t, s.client, Digest{"onceq", "c0ffee"}, onceq.Delay(time.Hour))
	var n int
	if err := s.db.QueryRow("SELECT count(*) FROM payments").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d payments, error %v", n, err)
	}
}

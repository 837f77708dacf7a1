package onceq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// noteLog is a store that writes down its notes, and fails them while err says
// so.
type noteLog struct {
	onceq.Store
	mu    sync.Mutex
	notes []onceq.Notes
	at    []time.Time
	err   error
	lose  bool // it takes the note, and loses the answer
}

func (s *noteLog) Note(ctx context.Context, n onceq.Notes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes, s.at = append(s.notes, n), append(s.at, time.Now())
	if s.err != nil {
		if s.lose {
			return errors.Join(s.Store.Note(ctx, n), s.err)
		}
		return s.err
	}
	return s.Store.Note(ctx, n)
}

func (s *noteLog) fails(err error, lose bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.lose = err, lose
}

func tallying(t *testing.T, s onceq.Store, c *onceq.Config) *onceq.Client {
	t.Helper()
	if c == nil {
		c = &onceq.Config{Logger: slog.New(slog.DiscardHandler)}
	}
	client, err := onceq.NewClient(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// sumOf is all that the store was told of.
func sumOf(t *testing.T, s onceq.Store) (all onceq.Count) {
	t.Helper()
	stats, err := s.Stats(t.Context(), onceq.StatsRequest{Span: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range stats.Series {
		for _, p := range series.Points {
			all.Add(&p)
		}
	}
	return all
}

func TestCountsAreNotedAfterTwoSecondsAndThenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		client := tallying(t, s, nil)
		began := time.Now()
		for range 150 {
			if _, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`)), onceq.Unique{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		client.Close()
		if n := len(s.notes); n != 4 {
			t.Errorf("%d notes, want 4: after 2s, two minutes, and at the end", n)
		}
		for i, at := range s.at[:3] {
			if d := at.Sub(began); i == 0 && d != 2*time.Second {
				t.Errorf("the first note came after %v", d)
			} else if i > 0 && (at.Sub(s.at[i-1]) < 54*time.Second || at.Sub(s.at[i-1]) > 68*time.Second) {
				t.Errorf("a note came %v after the one before", at.Sub(s.at[i-1]))
			}
		}
		if got := sumOf(t, s); got.Enqueued != [6]int64{1, 149} {
			t.Errorf("noted %v", got.Enqueued)
		}
		time.Sleep(time.Hour)
		if n := len(s.notes); n != 4 {
			t.Errorf("%d notes an hour later", n)
		}
	})
}

func TestANoteWhoseAnswerIsLostCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		client := tallying(t, s, nil)
		enqueue := func() {
			if _, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`)), onceq.Unique{}); err != nil {
				t.Fatal(err)
			}
		}
		s.fails(fmt.Errorf("%w: cut", onceq.ErrUncertain), true)
		enqueue()
		time.Sleep(3 * time.Second)
		enqueue()
		time.Sleep(90 * time.Second)
		s.fails(nil, false)
		time.Sleep(10 * time.Minute)
		client.Close()
		if got := sumOf(t, s); got.Enqueued != [6]int64{1, 1} {
			t.Errorf("noted %v in %d notes", got.Enqueued, len(s.notes))
		}
		if len(s.notes) != 4 || s.notes[0].Nonce != s.notes[2].Nonce || s.notes[3].Nonce == s.notes[2].Nonce {
			t.Errorf("%d notes", len(s.notes))
		}
	})
}

func TestARefusedNoteFailsNoEnqueueAndIsTriedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		var log bytes.Buffer
		client := tallying(t, s, &onceq.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		s.fails(errors.New("permission denied"), false)
		for range 600 {
			if _, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`)), onceq.Unique{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := len(s.notes); n < 10 || n > 17 {
			t.Errorf("%d notes in ten hours", n)
		}
		client.Close()
		if n := strings.Count(log.String(), "counts not noted"); n != 1 {
			t.Errorf("that is logged %d times", n)
		}
	})
}

func TestAClosedStoreIsToldNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		client := tallying(t, s, nil)
		if _, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		s.Close()
		time.Sleep(time.Hour)
		client.Close()
		if n := len(s.notes); n != 1 {
			t.Errorf("%d notes", n)
		}
	})
}

func TestNoTallyNotesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		client := tallying(t, s, &onceq.Config{NoTally: true})
		if _, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		client.Close()
		if len(s.notes) > 0 {
			t.Error(s.notes)
		}
	})
}

// A window is noted with the retention, so that one can be compared with the
// other.
func TestTheTermsOfAWindowNameTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &noteLog{Store: memstore.New(nil)}
		client := tallying(t, s, nil)
		_, err := client.Enqueue(t.Context(), onceq.JSON("x", []byte(`{}`)), onceq.Retention(time.Hour),
			onceq.Unique{Window: 2 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		want := "by=kind,queue,args until=finished window=2h0m0s retention=1h0m0s on_conflict=skip"
		if len(s.notes) != 1 || s.notes[0].Tallies[0].Terms != want {
			t.Errorf("noted %+v", s.notes)
		}
	})
}

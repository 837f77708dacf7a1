package signup

import (
	"errors"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
)

func newService(t *testing.T) (s *Service, store *onceqtest.Store, mails *[]int) {
	store, mails = onceqtest.NewStore(t), new([]int)
	return &Service{Client: onceqtest.NewClient(t, store),
		Mail:  func(user int) error { *mails = append(*mails, user); return nil },
		Known: func(user int) (bool, error) { return user > 0, nil },
	}, store, mails
}

func TestASignUpIsWelcomedAnHourLater(t *testing.T) {
	s, store, mails := newService(t)
	for range 2 { // who clicks twice gets one mail
		if err := s.SignUp(t.Context(), 42); err != nil {
			t.Fatal(err)
		}
	}
	onceqtest.RequireEnqueued(t, s.Client, Welcome{42}, onceq.Delay(time.Hour))
	onceqtest.RequireEnqueuedCount(t, s.Client, Welcome{42}, 1)

	worker := onceqtest.NewWorker(t, store)
	onceq.Handle(worker, s.Welcome)
	if ran := onceqtest.Drain(t, worker); len(ran) != 0 {
		t.Errorf("%d jobs ran too early", len(ran))
	}
	store.Advance(time.Hour)
	onceqtest.Drain(t, worker)
	if len(*mails) != 1 {
		t.Errorf("mails to %v", *mails)
	}
}

func TestAnUnknownUserIsGivenUp(t *testing.T) {
	s, store, _ := newService(t)
	if job := onceqtest.Run(t, store, s.Welcome, Welcome{-1}); job.State != onceq.Discarded {
		t.Errorf("%s %v", job.State, job.Errors)
	}
}

func TestATroubleIsTriedAgain(t *testing.T) {
	s, store, _ := newService(t)
	s.Known = func(int) (bool, error) { return false, errors.New("the database is away") }
	if job := onceqtest.Run(t, store, s.Welcome, Welcome{42}); job.State != onceq.Retryable {
		t.Errorf("%s %v", job.State, job.Errors)
	}
}

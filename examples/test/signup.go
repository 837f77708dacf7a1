// Package signup is a small program under test: signup_test.go beside it is the
// example.
package signup

import (
	"context"
	"errors"
	"time"

	"github.com/onceq/onceq"
)

// Welcome asks for a mail to a new user.
type Welcome struct {
	User int `json:"user"`
}

// Kind names the job.
func (Welcome) Kind() string { return "welcome" }

// Service signs people up.
type Service struct {
	Client *onceq.Client                // where jobs go
	Mail   func(user int) error         // sends a mail
	Known  func(user int) (bool, error) // whether there is such a user
}

// SignUp enqueues the mail that welcomes a user an hour later, once.
func (s *Service) SignUp(ctx context.Context, user int) error {
	_, err := s.Client.Enqueue(ctx, Welcome{user}, onceq.Unique{}, onceq.Delay(time.Hour))
	return err
}

// Welcome is the handler.
func (s *Service) Welcome(_ context.Context, job *onceq.Job[Welcome]) error {
	known, err := s.Known(job.Args.User)
	switch {
	case err != nil:
		return err // tried again
	case !known:
		return onceq.Discard(errors.New("no such user"))
	}
	return s.Mail(job.Args.User)
}

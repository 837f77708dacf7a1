package onceq_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// fates are those of the calls of an enqueue, one after another; the last
// one stays.
func (s *flaky) fates(fates ...fault) {
	var mu sync.Mutex
	s.from(func(op string) fault {
		mu.Lock()
		defer mu.Unlock()
		what := fates[0]
		if len(fates) > 1 {
			fates = fates[1:]
		}
		return what
	})
}

func clientOf(t *testing.T, store onceq.Store, config *onceq.Config) *onceq.Client {
	t.Helper()
	c, err := onceq.NewClient(store, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// howMany is how many jobs are in a store.
func howMany(t *testing.T, store onceq.Store) int {
	t.Helper()
	p, err := store.List(context.Background(), onceq.ListRequest{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return len(p.Jobs)
}

// mails are to whom the mails in a store go.
func mails(t *testing.T, store onceq.Store) map[string]bool {
	t.Helper()
	p, err := store.List(context.Background(), onceq.ListRequest{Limit: 1000, Args: true})
	if err != nil {
		t.Fatal(err)
	}
	to := map[string]bool{}
	for _, j := range p.Jobs {
		var m mail
		if err := json.Unmarshal(j.Args, &m); err != nil {
			t.Fatal(err)
		}
		to[m.To] = true
	}
	return to
}

// mustDoubt wants an error that is uncertain and names both causes.
func mustDoubt(t *testing.T, err error, causes ...error) *onceq.UncertainError {
	t.Helper()
	var lost *onceq.UncertainError
	if !errors.As(err, &lost) || !errors.Is(err, onceq.ErrUncertain) || lost.ID == "" {
		t.Fatalf("%v: want an *UncertainError with an ID", err)
	}
	for _, cause := range causes {
		if !errors.Is(err, cause) {
			t.Errorf("%v: want %v among its causes", err, cause)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
	return lost
}

var twoMails = []onceq.Item{onceq.NewItem(mail{"a"}), onceq.NewItem(mail{"b"})}

func TestAnEnqueueWhoseContextEndsBeforeItsResendStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFlaky()
		s.fates(failsUnheard)
		c := clientOf(t, s, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		_, err := c.Enqueue(ctx, mail{"a"}, onceq.Unique{})
		mustDoubt(t, err, context.DeadlineExceeded)
		if _, err = c.EnqueueMany(ctx, twoMails); !errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%v: a context that has ended lets nothing be sent", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		_, err = c.EnqueueMany(ctx, twoMails)
		mustDoubt(t, err, context.DeadlineExceeded)
	})
}

func TestAnEnqueueWhoseResendIsRefusedStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, before := range [][]fault{{failsUnheard}, {failsUnsent}, {failsUnheard, failsUnheard},
			{failsUnsent, failsUnheard}} {
			s := newFlaky()
			c := clientOf(t, s, nil)
			s.fates(append(slices.Clone(before), failsClean)...)
			_, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{})
			mustDoubt(t, err, errDown)
			s.fates(append(slices.Clone(before), failsClean)...)
			_, err = c.EnqueueMany(t.Context(), twoMails)
			if lost := mustDoubt(t, err, errDown); len(lost.IDs) != 2 || !slices.Equal(lost.Items, []int{0, 1}) {
				t.Errorf("it names the jobs %v and the items %v", lost.IDs, lost.Items)
			}
		}
	})
}

func TestAnEnqueueWhoseClientIsClosedBeforeItsResendStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFlaky()
		s.fates(failsUnheard)
		c := clientOf(t, s, nil)
		go func() {
			time.Sleep(time.Millisecond) // the client waits 10ms before it sends again
			c.Close()
		}()
		_, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{})
		mustDoubt(t, err, onceq.ErrClosed)
	})
}

func TestAResendByHandThatFailsStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFlaky()
		c := clientOf(t, s, nil)
		first := errors.New("first cause")
		s.fates(failsUnheard)
		_, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{})
		lost := mustDoubt(t, err)
		_, err = c.EnqueueMany(t.Context(), twoMails)
		many := mustDoubt(t, err)
		same := func(err error, want *onceq.UncertainError, causes ...error) error {
			t.Helper()
			if got := mustDoubt(t, err, causes...); got.ID != want.ID || !slices.Equal(got.IDs, want.IDs) {
				t.Errorf("the doubt is about %v, want %v", got.IDs, want.IDs)
			}
			return err
		}
		batch := func(err error, args onceq.Args) []onceq.Item {
			return []onceq.Item{onceq.NewItem(mail{"a"}, onceq.Resend(err)), onceq.NewItem(args, onceq.Resend(err))}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()

		s.fates(failsClean)
		_, err = c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{}, onceq.Resend(lost))
		again := same(err, lost, errDown)
		_, err = c.Enqueue(ended, mail{"a"}, onceq.Unique{}, onceq.Resend(again))
		same(err, lost, context.Canceled)
		if errors.Is(err, errDown) {
			t.Errorf("%v: the causes heap up", err)
		}
		_, err = c.Enqueue(t.Context(), mail{"a"}, onceq.Priority(77), onceq.Resend(fmt.Errorf("%w: %w", first, lost)))
		var invalid *onceq.InvalidError
		if same(err, lost); !errors.As(err, &invalid) {
			t.Errorf("%v: want the *InvalidError too", err)
		}
		_, err = c.EnqueueMany(t.Context(), batch(many, mail{"b"}))
		same(err, many, errDown)
		_, err = c.EnqueueMany(t.Context(), batch(many, nil))
		same(err, many)
		tx := c.WithTx(inTx{s})
		_, err = tx.Enqueue(t.Context(), mail{"a"}, onceq.Resend(lost))
		same(err, lost, errDown)
		_, err = tx.EnqueueMany(t.Context(), batch(many, mail{"b"}))
		same(err, many, errDown)

		s.heal()
		r, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{}, onceq.Resend(again))
		if err != nil || r.Outcome != onceq.Inserted || r.Job.ID != lost.ID {
			t.Errorf("%+v, %v: want the first answer", r, err)
		}
		if n := howMany(t, s.Store); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
		c.Close()
		_, err = c.Enqueue(t.Context(), mail{"a"}, onceq.Resend(lost))
		same(err, lost, onceq.ErrClosed)
		_, err = c.EnqueueMany(t.Context(), batch(many, mail{"b"}))
		same(err, many, onceq.ErrClosed)
	})
}

// A transaction whose answer was lost may have the job or not. The caller
// may commit it and then ask.
func TestALostAnswerInATransactionIsUncertainAndCanBeSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fate := range []fault{failsUnheard, failsUnsent} {
			s := newFlaky()
			c := clientOf(t, s, nil)
			tx := c.WithTx(inTx{s})
			s.fates(fate)
			_, err := tx.Enqueue(t.Context(), mail{"a"}, onceq.Unique{})
			lost := mustDoubt(t, err)
			s.fates(fate)
			_, err = tx.EnqueueMany(t.Context(), twoMails)
			many := mustDoubt(t, err)
			if len(many.IDs) != 2 || len(many.Items) != 2 {
				t.Errorf("%+v: want both items", many)
			}
			s.heal()
			r, err := c.Enqueue(t.Context(), mail{"a"}, onceq.Unique{}, onceq.Resend(lost))
			if err != nil || r.Outcome != onceq.Inserted || r.Job.ID != lost.ID {
				t.Errorf("%+v, %v: want the job of the first call", r, err)
			}
		}
	})
}

// A loop that keeps the error in a variable of the pointer's type passes a
// nil pointer that is not a nil error.
func TestResendRefusesANilPointerByName(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	var before *onceq.UncertainError
	for _, opt := range []onceq.Option{onceq.Resend(before), onceq.Resend(&wrapping{before})} {
		_, err := c.Enqueue(t.Context(), mail{"a"}, opt)
		var invalid *onceq.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "Resend" || invalid.Value != "a nil *UncertainError" ||
			!strings.Contains(invalid.Rule, "declare the variable as error") {
			t.Errorf("%v", err)
		}
	}
}

// wrapping wraps an error without asking it for its text.
type wrapping struct{ error }

func (w *wrapping) Error() string { return "wrapped" }
func (w *wrapping) Unwrap() error { return w.error }

// inTx is a transaction on a store whose calls go wrong as told.
type inTx struct{ *flaky }

func (tx inTx) Data() string { return "" }

func (tx inTx) Enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	return tx.flaky.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
}

// halves is a store that answers for a part of a batch, and loses the rest,
// as often as it is told.
type halves struct {
	*memstore.Store
	times int
	then  error // of the call after that
	rows  []int // of each call
}

func (s *halves) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	s.rows = append(s.rows, len(rows))
	if s.times == 0 {
		if s.then != nil {
			return nil, s.then
		}
		return s.Store.Enqueue(ctx, r)
	}
	s.times--
	answers, err := s.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows[:len(rows)/2]})
	if err != nil {
		return nil, err
	}
	return append(answers, make([]onceq.EnqueueResult, len(rows)-len(answers))...),
		fmt.Errorf("%w: answer cut", onceq.ErrUncertain)
}

func TestReceiptsOfAPartOfABatchSurviveAResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items := make([]onceq.Item, 8)
		for i := range items {
			items[i] = onceq.NewItem(mail{fmt.Sprint(i)}, onceq.Unique{})
		}
		s := &halves{Store: memstore.New(nil), times: 2, then: errDown}
		c := clientOf(t, s, nil)
		receipts, err := c.EnqueueMany(t.Context(), items)
		lost := mustDoubt(t, err, errDown)
		if !slices.Equal(lost.Items, []int{6, 7}) || len(lost.IDs) != 8 {
			t.Fatalf("items %v of %d are named, want 6 and 7 of 8", lost.Items, len(lost.IDs))
		}
		if !slices.Equal(s.rows, []int{8, 4, 2}) {
			t.Errorf("calls of %v rows: want only what has no answer to be sent again", s.rows)
		}
		for i, r := range receipts {
			if known := i < 6; known != (r.Job != nil) || known && r.Job.ID != lost.IDs[i] {
				t.Errorf("receipt %d: %+v", i, r.Job)
			}
		}
		s.then = nil
		for i := range items {
			items[i].Options = append(items[i].Options, onceq.Resend(err))
		}
		if receipts, err = c.EnqueueMany(t.Context(), items); err != nil {
			t.Fatal(err)
		}
		for i, r := range receipts {
			if r.Outcome != onceq.Inserted || r.Job.ID != lost.IDs[i] {
				t.Errorf("receipt %d of the resend: %s %s", i, r.Outcome, r.Job.ID)
			}
		}
	})
}

// The promise of every enqueue: a definite error left nothing behind, and
// an answer is true.
func TestADefiniteErrorLeavesNoJobBehind(t *testing.T) {
	faults := []fault{goesWell, goesWell, failsClean, failsUnsent, failsUnheard, failsUnheard}
	definite, uncertain := 0, 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			var mu sync.Mutex
			draw := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			s := newFlaky()
			s.from(func(string) fault { return faults[draw(len(faults))] })
			c := clientOf(t, s, nil)
			judge := func(err error, to ...string) {
				var doubt *onceq.UncertainError
				var duplicate *onceq.DuplicateError
				for _, to := range to {
					there := mails(t, s.Store)[to]
					switch {
					case err == nil || errors.As(err, &duplicate):
						if !there && duplicate == nil {
							t.Errorf("seed %d: %s was accepted and is not there", seed, to)
						}
					case errors.As(err, &doubt):
						uncertain++
					case there:
						t.Errorf("seed %d: %s is there after the definite error %v", seed, to, err)
					default:
						definite++
					}
				}
			}
			var all sync.WaitGroup
			for n := range 8 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+draw(200))*time.Millisecond)
					defer cancel()
					time.Sleep(time.Duration(draw(3)) * time.Millisecond)
					to := fmt.Sprint(seed, " ", n)
					if draw(3) == 0 {
						_, err := c.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(mail{to + "a"}, onceq.Unique{}),
							onceq.NewItem(mail{to + "b"})})
						for try := 0; try < 2 && errors.Is(err, onceq.ErrUncertain); try++ {
							_, err = c.EnqueueMany(ctx,
								[]onceq.Item{onceq.NewItem(mail{to + "a"}, onceq.Unique{}, onceq.Resend(err)),
									onceq.NewItem(mail{to + "b"}, onceq.Resend(err))})
						}
						mu.Lock()
						defer mu.Unlock()
						judge(err, to+"a", to+"b")
						return
					}
					_, err := c.Enqueue(ctx, mail{to}, onceq.Unique{})
					for try := 0; try < 2 && errors.Is(err, onceq.ErrUncertain); try++ {
						_, err = c.Enqueue(ctx, mail{to}, onceq.Unique{}, onceq.Resend(err))
					}
					mu.Lock()
					defer mu.Unlock()
					judge(err, to)
				})
			}
			all.Wait()
		})
	}
	if definite < 100 || uncertain < 100 {
		t.Errorf("%d definite and %d uncertain errors: too few to tell", definite, uncertain)
	}
}

package reserved

import (
	"log/slog"
	"time"
)

// Claim says what an enqueue of package guard makes.
type Claim struct {
	Guard    string        // the name of the guard
	InDoubt  time.Duration // until the claim is due, unless its send is confirmed
	Patience time.Duration // until it is due again after a sign of life; 0 = Delay does not count
	ByID     bool          // it may have no key: its ID alone says what is the same
}

// What the root package does for package guard. It sets these; where a type is
// any, it has a type of the root, which imports this package.
var (
	// Guarded returns the onceq.Option of a claim.
	Guarded func(Claim) any

	// NotBefore returns the onceq.Option that lets patience begin later.
	NotBefore func(time.Time) any

	// Acquire is func(context.Context, *onceq.Client, onceq.Args, []onceq.Option)
	// (onceq.NewRow, onceq.Receipt, error): it makes one claim. A row without an
	// ID is not to be guarded.
	Acquire any

	// AcquireMany is func(context.Context, *onceq.Client, []onceq.Item)
	// ([]onceq.NewRow, []onceq.Receipt, error): Acquire in one step.
	AcquireMany any

	// Uncertain is func(*onceq.NewRow, error) error: the error of a row that may
	// have been sent.
	Uncertain any

	// Patience is func(*onceq.JobRow) (time.Duration, bool): that of a claim.
	Patience any

	// Decide is func(job *onceq.JobRow, err, cause error, policy
	// onceq.RetryPolicy) onceq.Finish: how a run ends.
	Decide any

	// Logger makes a logger whose handler may panic.
	Logger func(*slog.Logger) *slog.Logger
)

package onceq

import (
	"context"
	"time"
)

// Store keeps jobs and keys. Each method is one atomic step: one transaction, one script. A store holds no rule that could drift: keys,
// policies, backoff and verdicts arrive decided, as data; the store compares and writes. Lengths of time cross this seam ("in 5m", "a
// lease of 30s") and the store adds them to its own clock; the one instant that crosses is a run time that the caller named.
//
// The suite in package storetest says what each method must do, case by case. All methods are safe for concurrent use. After Close all
// of them answer ErrClosed.
//
// Errors: an error that wraps ErrUncertain says that the step may or may not have happened (the answer was lost). Any other error says
// that nothing happened. A store that is busy, restarting or failing over retries inside, within ctx.
type Store interface {
	// Enqueue accepts rows as if one after another, and answers in their order: it inserts a job and takes its key, or reports or writes
	// to the job that is met. Atomic as a whole on SQLite and PostgreSQL; on Redis each share of a partition is. For each row:
	//
	//	1. The ID exists: with the same Nonce it is this call's own echo, answered with its first Outcome; else Skipped (Rejected where
	//	   every reaction is ActionRefuse, or the kind differs), By "id". Nothing is written.
	//	2. No Claim, or its key is free or held no longer: the job is inserted and holds its key. Inserted.
	//	3. The key is held: Row.Reactions.On(state of the effective holder) says what to do.
	//
	// A row that meets nobody and whose own terms hold for no time (UntilDue without a delay) is inserted and leaves no key.
	//
	// With NoWait a row that would have to wait for somebody's open transaction fails the whole call
	// soon, and nothing has happened. See [Traits.Blocks].
	Enqueue(ctx context.Context, r EnqueueRequest) ([]EnqueueResult, error)

	// Fetch starts due jobs of the queues, lowest priority number first, then by run time, then by ID, and gives them to the worker:
	// they are Running, with one more attempt and the next run number, and a first fetch releases an UntilStarted key. A job that
	// stands behind another, a job of a paused queue, and one whose kind is not asked for, is not fetched. It may return fewer than
	// there are slots. A worker that Extend does not know (it was taken for lost) gets ErrLeaseLost and no job.
	Fetch(ctx context.Context, r FetchRequest) (Fetched, error)

	// Extend says that a worker is alive and renews its lease; it makes the worker known. In the same step, jobs that are running for
	// this worker, were started by a fetch numbered FetchesDone or lower and are not among Runs are handed back: waiting again, due now
	// (Scheduled), with the attempt given back and the key kept. A request with a Lease of zero takes leave: all that still runs for
	// the worker is handed back and the worker is forgotten.
	Extend(ctx context.Context, r ExtendRequest) (Extended, error)

	// Finish ends runs; results in the order of the requests. A request counts only while the job is Running with that run number and
	// for that worker (or, from a sweeper, with Rescue); else its result is FinishLost, or FinishGone when the row is not there.
	// A repeat of a Finish that took effect, by the same worker and run, is answered as the first time. The job's own change and that
	// of its key (released, kept, or handed to the waiter that stands behind it) are one step, whatever other requests are in the call.
	//
	// With NoWait a run whose job is locked by somebody's open transaction is answered [FinishBusy],
	// and the others are not kept waiting. See [Traits.Blocks].
	Finish(ctx context.Context, r FinishRequest) ([]FinishResult, error)

	// Change is an operator's step on jobs by ID, on a queue or on a key. It answers in the order of Change.IDs.
	Change(ctx context.Context, c Change) ([]ChangeResult, error)

	// Get returns the jobs of these IDs, in order; nil where there is none.
	Get(ctx context.Context, ids []string) ([]*JobRow, error)

	// List returns jobs by ID, the largest (so the newest) first. It may return fewer than Limit, even none, with a cursor to go on;
	// the last page has no cursor. Every job that is there throughout is listed once.
	List(ctx context.Context, r ListRequest) (JobPage, error)

	// Keys returns held keys in the order of the keys, as List does. With Key set it returns that one, or none.
	Keys(ctx context.Context, r KeysRequest) (KeyPage, error)

	// Queues returns every queue that has a job or is paused, by name.
	Queues(ctx context.Context) ([]QueueInfo, error)

	// Sweep tidies: it reports workers whose lease is over, lists runs of those that are confirmed lost, prunes finished jobs whose
	// retention has passed, and drops keys that hold no longer. Nothing depends on it for being right: what a key holds is judged when
	// it is asked. Each of its parts does at most Limit rows.
	Sweep(ctx context.Context, r SweepRequest) (Swept, error)

	// Traits says what the store can do besides. It answers at once and always the same.
	Traits() Traits

	Close() error
}

// Traits says what a store can do besides its methods, and how it likes to be called. The zero
// value fits the simplest store. It is data and not a set of optional interfaces, so that a
// decorator that embeds a Store loses nothing.
type Traits struct {
	// InFlight is how many group commits may be under way at once; 0 means 1. More than two are
	// used only while trips take long for what they carry.
	InFlight int

	// Join is how many calls must be queued before a second group commit starts while one is in
	// flight; 0 means 64. It does not matter while trips are slow: then InFlight alone decides.
	Join int

	// Blocks says that a step may have to wait for somebody's open transaction, so that NoWait in
	// a request makes a difference.
	Blocks bool

	// Place gives an ID that the client made the form that lets its job lie beside its key (nil =
	// no key): at most the last three characters change. nil = any ID will do.
	Place func(id string, key *Key) string

	// Wake sends a [Wake] soon after something became due in one of the queues, or was given an
	// earlier run time (the worker then learns when to look from Fetched.NextDue), and soon after
	// a run of the worker was asked to stop: in this process at once, from others as fast as the
	// store can. It may send too often, and it may miss: a worker polls and beats besides. It never
	// blocks the store. The channel is closed when ctx ends. nil = the store has no wake-ups.
	Wake func(ctx context.Context, r WakeRequest) (<-chan Wake, error)

	// Check looks for damage in the store's own files or indexes, beyond the invariants that
	// [Client.Doctor] checks on every store, and returns one line for each. nil = nothing to check.
	Check func(ctx context.Context) ([]string, error)
}

// WakeRequest says what somebody wants to hear of.
type WakeRequest struct {
	Queues []string
	Worker string // also when a run of this worker is asked to stop; "" = no worker
}

// Wake is one wake-up.
type Wake struct {
	Queue string // something may be due in this queue; "" = in any of them
	Stop  bool   // a run of the worker was asked to stop, and nothing is said about queues
}

// Tx is a caller's own transaction on a store: what is enqueued through it exists if and only if the transaction commits.
type Tx interface {
	// Enqueue is Store.Enqueue inside the transaction. A duplicate leaves the transaction usable.
	Enqueue(ctx context.Context, rows []NewRow) ([]EnqueueResult, error)
}

// EnqueueRequest is a batch of enqueues.
type EnqueueRequest struct {
	Rows []NewRow
	// NoWait asks for a definite error soon in place of a wait for somebody's open transaction. It
	// is set where rows of callers who do not know each other share the call.
	NoWait bool
}

// NewRow is an enqueue, decided: everything a store needs to insert the job or to answer for it.
type NewRow struct {
	ID       string
	Nonce    [16]byte // random, one for each call of an enqueue; a resend repeats it
	Kind     string
	Queue    string
	Args     []byte
	Encoding string
	Meta     []byte // a JSON object, or nil
	Tags     []string

	Priority    int
	MaxAttempts int
	Timeout     time.Duration
	Retention   time.Duration // 0 = deleted when it finishes
	Delay       time.Duration // from the store's now
	RunAt       time.Time     // in place of Delay when not zero; a time that has passed means now

	Claim     *Claim // nil = not unique: it holds nothing and is met by nobody
	Reactions Reactions
	Write     Fields        // what ActionWrite writes
	MaxWait   time.Duration // of ActionPushBack

	made bool // the ID was made for this call, so that nobody else can have it
}

// Made reports whether a client made the ID for this call, so that nobody else can have it. The call itself may be sent again.
func (r *NewRow) Made() bool { return r.made }

// Claim is the key that a new job wants to hold.
type Claim struct {
	Key    Key
	Text   string   // readable, at most 1 KiB
	Digest [16]byte // of the args, by value
	Hold   Hold
}

// Fields names fields of a job that an enqueue writes to a holder.
type Fields uint8

const (
	FieldArgs Fields = 1 << iota // and with them Encoding and the key row's digest
	FieldMeta
	FieldPriority
	FieldRunAt
	FieldMaxAttempts
	FieldTags
)

// Action is what an enqueue does to the job it meets.
type Action uint8

const (
	// ActionAnswer writes nothing: Skipped.
	ActionAnswer Action = iota
	// ActionRefuse writes nothing: Rejected.
	ActionRefuse
	// ActionWrite gives the waiting holder the values of the fields in NewRow.Write: Replaced. FieldRunAt gives it the new row's run time.
	ActionWrite
	// ActionPushBack gives the waiting holder the new args, and as run time the earlier of the new row's and the holder's enqueue + MaxWait: Replaced.
	ActionPushBack
	// ActionMerge gives the waiting holder the new args and the earlier of the two run times, but a Retryable one keeps its own: Replaced.
	// Where a waiter stands behind the holder, the waiter takes them instead (as under ActionStand).
	ActionMerge
	// ActionStand puts the new job behind the running holder as its waiter: Coalesced. Where a waiter stands already, that one takes
	// the new args and options (all but ID, Nonce, Origin, Displaced and EnqueuedAt) and the earlier of the two run times: Replaced.
	ActionStand
	// ActionTake supersedes. A waiting holder is Cancelled and the new job holds the key, standing behind whomever that holder stood
	// behind. A running holder is asked to stop and the new job stands behind it. A waiter that stood there is Cancelled. Superseded.
	ActionTake
)

// Reactions is one action for each state of the holder; the zero value answers in all of them.
type Reactions struct {
	Scheduled, Available, Retryable, Running Action
	Ended                                    Action // finished, or gone but still held
}

// On is the action for a holder in this state.
func (r Reactions) On(s State) Action {
	switch s {
	case Scheduled:
		return r.Scheduled
	case Available:
		return r.Available
	case Retryable:
		return r.Retryable
	case Running:
		return r.Running
	}
	return r.Ended
}

// Writes reports whether some state of a holder is written to. What does not write can be answered from a snapshot.
func (r Reactions) Writes() bool {
	return max(r.Scheduled, r.Available, r.Retryable, r.Running, r.Ended) > ActionRefuse
}

// Refuses reports whether a met job is refused in every state: the policy is Reject.
func (r Reactions) Refuses() bool { return r.Scheduled == ActionRefuse }

// EnqueueResult is the store's answer to one NewRow.
type EnqueueResult struct {
	Outcome Outcome
	// Job is the job that stands for the row: never nil. For a holder whose row is gone it has ID, Kind, Queue, Key, KeyText and State.
	Job *JobRow
	// Conflict is nil when Inserted. ArgsDiffer is the root's to fill where By is "id".
	Conflict *Conflict
	// FreesAt is, for an inserted job that holds its key, when a clock frees that (Never: no clock); 0 for any other.
	FreesAt int64
}

// FetchRequest asks for jobs to run.
type FetchRequest struct {
	Worker string // as Extend made it known
	No     int64  // the number of this fetch: 1, 2, 3 … for each worker
	Queues []QueueSlots
	Kinds  []string // only these; nil = any
	// MaxBytes bounds the args and meta of all jobs together: a fetch stops there and says that
	// there may be more at once. One job is given however large it is. 0 = no bound.
	MaxBytes int
}

// QueueSlots is how many jobs of a queue are wanted.
type QueueSlots struct {
	Queue string
	Slots int
}

// Fetched is what Fetch started.
type Fetched struct {
	Jobs []*JobRow
	// NextDue is how long until the next waiting job of these queues is due, so that the worker can sleep till then: 0 = there may be
	// more at once, negative = none is waiting that a clock would bring.
	NextDue time.Duration
}

// Run names one run of a job.
type Run struct {
	ID  string
	Run int64
}

// ExtendRequest is a worker's heartbeat.
type ExtendRequest struct {
	Worker      string
	Lease       time.Duration // 0 = the worker takes leave
	Runs        []Run         // all it has in hand
	FetchesDone int64         // every fetch up to this number has been answered, or given up
}

// Extended is the answer to a heartbeat.
type Extended struct {
	Lost []Run // of Runs: no longer this worker's; their results do not count
	Stop []Run // of Runs: to be cancelled
	Back int   // how many jobs were handed back
}

// FinishRequest is a batch of results.
type FinishRequest struct {
	Runs []Finish
	// NoWait asks for FinishBusy in place of a wait for somebody's open transaction.
	NoWait bool
}

// Finish ends one run of a job.
type Finish struct {
	ID     string
	Run    int64
	Worker string
	Rescue bool // the worker is lost: Worker is the rescuer's name, and the run may be anybody's
	// State is Completed, Discarded, Cancelled, Retryable or Scheduled (a snooze, or a hand-back with Delay 0). Where a cancel was
	// requested of the running job, any other than Completed becomes Cancelled.
	State    State
	Delay    time.Duration // until the next run, for Retryable and Scheduled
	GiveBack bool          // the attempt is not spent
	Error    string        // recorded with the attempt unless empty
	Stack    string
}

// FinishStatus says whether a Finish took effect.
type FinishStatus uint8

const (
	FinishDone FinishStatus = iota // it took effect
	FinishLost                     // another run of the job is current, or somebody else ended this one
	FinishGone                     // there is no such job (any more)
	FinishBusy                     // only with NoWait: nothing happened, for somebody's open transaction has the job
)

// FinishResult is the answer to one Finish.
type FinishResult struct {
	Status FinishStatus
	State  State // as recorded
	// Wake is the queue in which this step made a job due (the waiter that stood behind, or the job itself), or "".
	Wake string
}

// Op is an operator's step.
type Op uint8

const (
	OpCancel  Op = iota + 1 // a waiting job is Cancelled; a running one is asked to stop; a Cancelled one stays; else refused
	OpRetry                 // a finished job is due now, with at least one more attempt, and retakes its key; a Retryable one is due now
	OpRunNow                // a waiting job is due now; refused for one that stands behind another
	OpDelete                // the job is removed and every event of its key has come; refused while it runs
	OpPause                 // no later Fetch starts a job of Queue
	OpResume                //
	OpRelease               // Key is free, or its waiter's
)

// Change is an operator's step.
type Change struct {
	Op         Op
	IDs        []string // for OpCancel, OpRetry, OpRunNow, OpDelete
	States     []State  // of those: only jobs in one of these states; nil = any. Others are answered with ErrNotFound
	WithoutKey bool     // OpRetry: where another job holds the key, run without it
	Queue      string   // for OpPause, OpResume
	Key        Key      // for OpRelease
}

// ChangeResult is what became of one job (one result without a job for a queue or a key).
type ChangeResult struct {
	Job *JobRow // after the change (before it, for OpDelete)
	// Err is nil, ErrNotFound, *InvalidError (Field "state": the job cannot do that now) or *DuplicateError (OpRetry: the key is held).
	Err error
}

// ListRequest asks for a page of jobs.
type ListRequest struct {
	Filter JobFilter // Limit and All are the caller's business
	After  string    // the cursor of the page before, or ""
	Limit  int       // 1 … 1000
}

// MaxPageBytes bounds the args and meta of a page of jobs that was asked for with args
// ([JobFilter].Args). A page ends before the job that would go beyond, but has one at least.
const MaxPageBytes = 4 << 20

// JobPage is a page of jobs.
type JobPage struct {
	Jobs []*JobRow
	Next string // the cursor for the page after; "" = this is the last
}

// KeysRequest asks for a page of keys.
type KeysRequest struct {
	Filter KeyFilter
	Key    *Key // only this one
	After  string
	Limit  int
}

// KeyPage is a page of keys.
type KeyPage struct {
	Keys []*HeldKey
	Next string
}

// SweepRequest asks for a round of tidying.
type SweepRequest struct {
	Limit int
	// Lost are workers that the caller has seen with an expired lease and the same beat twice, apart by its own monotonic clock. The
	// store lists their runs if their beat is still that one and their lease still over, and forgets a worker that has no run left.
	Lost []Beat
}

// Beat identifies one heartbeat of a worker.
type Beat struct {
	Worker string
	No     int64
}

// Swept is what a round of tidying found and did.
type Swept struct {
	Expired []Beat    // workers whose lease is over by the store's clock (and runs of a worker nobody knows, with No -1)
	Runs    []*JobRow // runs of confirmed lost workers: to be ended with Finish and Rescue
	Jobs    int       // finished jobs pruned
	Keys    int       // key rows dropped
	More    bool      // there was more than Limit
}

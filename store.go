package onceq

// One long file, because who writes a store reads it from top to bottom.

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Store keeps jobs and keys. This file is the whole seam between the root
// package and a store. The suite in package storetest says what each method
// must do, case by case; docs/rules.md has the rules.
//
// Each method is one atomic step: one transaction, one script. Policies,
// backoff, verdicts and keys arrive decided, as data. What a key does (who
// holds it, when it becomes free, who is next) is the store's to decide,
// inside the step.
//
// Time: lengths of time cross this seam ("in 5m", "a lease of 30s"), and
// the store adds them to its own clock. The only instants that cross are
// those that a caller named: a run time, and the bounds of a list.
//
// Errors: an error that wraps [ErrUncertain] means that the step may or may
// not have happened, because the answer was lost. Any other error means
// that nothing happened. If ctx ends while a step is under way, the store
// answers soon; the error wraps ErrUncertain unless the store knows that
// nothing happened. A store that is busy, restarting or failing over tries
// again by itself, until ctx ends or its own time limit is over.
//
// Memory: a store keeps none of the slices of a request after the method
// has returned, and the caller may change what it gets. A [Claim] is never
// changed after it was made, so stores may share it.
//
// Blocking: a step may wait for the store, and where [Traits.Blocks] is set
// for somebody's open transaction. It waits for nothing else.
//
// All methods are safe for concurrent use. After Close all of them answer
// [ErrClosed].
//
// The numbers of [Until], [Action], [JobFields] and of the stored states are
// written to disk and stand in SQL and Lua: add at the end, never renumber.
type Store interface {
	// Enqueue accepts rows as if one after another and answers in their
	// order. It is atomic as a whole on SQLite and PostgreSQL; on Redis the
	// rows of one partition are. For each row, the first rule that fits:
	//
	//	1. A job with this ID exists. If it has the same Nonce, this call was sent
	//	   twice: the answer is the Outcome of the first time. Else Skipped, with
	//	   Conflict.By "id" (Rejected if every reaction is ActionRefuse, or if the
	//	   kind differs). Nothing is written.
	//	2. The row has no Claim, or its key is free. The job is inserted and holds
	//	   its key: Inserted.
	//	3. The key is held. Row.Reactions.On(state of the effective holder) says
	//	   what to do.
	//
	// A row whose own terms hold for no time (UntilDue without a delay)
	// leaves no key when it is inserted.
	//
	// With NoWait, a row that would have to wait for somebody's open
	// transaction makes the whole call fail soon, and nothing has happened; so
	// does a server that is not there.
	Enqueue(ctx context.Context, r EnqueueRequest) ([]EnqueueResult, error)

	// Fetch starts due jobs of the queues and gives them to the worker:
	// those with the lowest priority number first, then by run time, then
	// by ID. They are then Running, with one more attempt and the next run
	// number, and a first fetch releases an UntilStarted key.
	//
	// It does not fetch a job that stands behind another, a job of a paused
	// queue, or a kind that was not asked for. It may return fewer jobs
	// than there are slots. A worker that Extend does not know (it was
	// taken for lost) gets [ErrLeaseLost] and no job.
	Fetch(ctx context.Context, r FetchRequest) (Fetched, error)

	// Extend is a worker's heartbeat: it renews the worker's lease, and
	// makes the worker known. In the same step it hands back the jobs that
	// run for this worker, were started by a fetch numbered FetchesDone or
	// lower, and are not among Runs: the worker never got the answer of
	// that fetch. Handed back means Scheduled and due now, with the attempt
	// given back and the key kept.
	//
	// A Lease of zero says that the worker leaves: all that still runs for
	// it is handed back, and the worker is forgotten.
	Extend(ctx context.Context, r ExtendRequest) (Extended, error)

	// Finish ends runs and answers in the order of the requests. A request
	// counts only while the job is Running with that run number and for
	// that worker (or, from a sweeper, with Rescue). Else the result is
	// FinishLost, or FinishGone when there is no such job. A repeat of a
	// Finish that took effect, by the same worker and run, is answered as
	// the first time.
	//
	// The job's own change and that of its key (released, kept, or passed
	// to the waiter behind the job) are one step, whatever else is in the
	// call.
	//
	// With NoWait, a run whose job is locked by somebody's open transaction
	// is answered [FinishBusy], and the other runs do not wait for it.
	Finish(ctx context.Context, r FinishRequest) ([]FinishResult, error)

	// Change is an operator's step on jobs by ID, on a queue, or on a key. It
	// answers in the order of Change.IDs.
	Change(ctx context.Context, c Change) ([]ChangeResult, error)

	// Get returns the jobs with these IDs, in order; nil where there is none.
	// It alone hands out JobRow.Result.
	Get(ctx context.Context, ids []string) ([]*JobRow, error)

	// List returns jobs by ID, the largest (of generated IDs: the newest)
	// first. It may return fewer than Limit, even none, with a cursor to go
	// on; the last page has no cursor. A job that exists and matches
	// throughout is listed exactly once. What a page costs grows with the
	// rows that it looks at, and these are bounded. Where only running or
	// waiting jobs are asked for and they are few, it looks at no others.
	List(ctx context.Context, r ListRequest) (JobPage, error)

	// Keys returns held keys in the order of the keys, page by page as List
	// does. With Key set it returns that key, or none.
	Keys(ctx context.Context, r KeysRequest) (KeyPage, error)

	// Queues returns every queue that has a job or is paused, by name. What it
	// costs does not grow with the jobs that are there: a store that would
	// have to read them to count them stops at Most, and says so in AtLeast.
	Queues(ctx context.Context, r QueuesRequest) (QueueList, error)

	// Workers returns every worker that is known, by name: also those whose
	// lease is over, until Sweep forgets them.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Note adds to what is known of enqueues and runs. It is part of no other
	// step, and what it adds decides nothing. A note with a Nonce that was
	// added in the last ten minutes is not added again. What is kept is
	// bounded, whatever the kinds and queues are called.
	Note(ctx context.Context, n Notes) error

	// Stats returns what was noted.
	Stats(ctx context.Context, r StatsRequest) (Stats, error)

	// Sweep tidies up. It reports workers whose lease is over, lists the
	// runs of those that are confirmed lost, prunes finished jobs whose
	// retention is over, and drops keys that are free. Each of these does
	// at most Limit rows. No promise depends on Sweep: whether a key is
	// held is judged when it is asked.
	Sweep(ctx context.Context, r SweepRequest) (Swept, error)

	// Traits says what the store can do besides. It answers at once and
	// always the same.
	Traits() Traits

	// Close ends what the store started, and waits for it. It closes a
	// connection only if the store opened it.
	Close() error
}

// Traits says what a store can do besides its methods, and how it is best
// called. The zero value fits the simplest store. It is data, not a set of
// optional interfaces, so that a decorator that embeds a [Store] loses
// nothing.
type Traits struct {
	// InFlight is how many group commits may be under way at once; 0 means 1.
	// More than two are used only while a trip takes long for what it carries.
	InFlight int

	// Join is how many calls must be queued before a second group commit
	// starts while one is in flight; 0 means 64. It does not matter while
	// trips are slow: then InFlight alone decides.
	Join int

	// Blocks says that a step may have to wait for somebody's open transaction.
	// Without it NoWait in a request makes no difference.
	Blocks bool

	// Place changes an ID that a client has just made, at most its last
	// three characters, so that the job lies in the partition of its key
	// (nil = no key). A nil Place means that any ID will do.
	Place func(id string, key *Key) string

	// Wake sends a [Wake] soon after a job of one of the queues became due
	// or was given an earlier run time (when to look, the worker then
	// learns from Fetched.NextDue), and soon after a run of the worker was
	// asked to stop. It sends at once for changes in this process, and as
	// soon as the store can for changes elsewhere. It may send too often
	// and it may miss some: a worker also polls and sends heartbeats. It
	// never blocks the store. The channel is closed when ctx ends. nil =
	// the store has no wake-ups.
	Wake func(ctx context.Context, r WakeRequest) (<-chan Wake, error)

	// Check looks for damage in the store's own files or indexes, beyond what
	// [Client.Doctor] checks on every store, and returns one line for each.
	// nil = there is nothing to check.
	Check func(ctx context.Context) ([]string, error)

	// Data names the data of the store, for [Tx.Data]. "" = it has no
	// transactions of a caller's own.
	Data string

	// Growth says what takes space that no job needs, why, and what makes it smaller,
	// one line each: nothing is wrong, but it only grows. [Client.Doctor] asks for it.
	// nil = the store knows of nothing.
	Growth func(ctx context.Context) ([]string, error)

	// Info says what the store is and what puts its promises at risk, as of now.
	// nil = the store says nothing of itself. See [Client.StoreInfo].
	Info func(ctx context.Context) (StoreInfo, error)
}

// WakeRequest says of what to send a [Wake].
type WakeRequest struct {
	Queues []string // jobs of these queues became due
	// Kinds limits that to jobs of these kinds; nil = of any. For a change in
	// another process, or the first job of a queue, a store may send for other
	// kinds too.
	Kinds  []string
	Worker string // a run of this worker was asked to stop; "" = of no worker
}

// Wake is one wake-up.
type Wake struct {
	Queue string // something may be due in this queue; "" = in any of them
	Stop  bool   // a run of the worker was asked to stop, and nothing is said about queues
}

// Tx is a caller's own transaction on a store: what is done through it has
// happened if and only if the transaction commits.
type Tx interface {
	// Enqueue is Store.Enqueue inside the transaction. A duplicate leaves
	// the transaction usable.
	Enqueue(ctx context.Context, rows []NewRow) ([]EnqueueResult, error)

	// Finish is Store.Finish inside the transaction. It waits for jobs that
	// another transaction has locked, whatever NoWait says.
	Finish(ctx context.Context, r FinishRequest) ([]FinishResult, error)

	// Change is Store.Change of jobs inside the transaction. A refusal leaves
	// the transaction usable.
	Change(ctx context.Context, c Change) ([]ChangeResult, error)

	// Data names the data that the transaction is on, as [Traits].Data does. A
	// client of other data refuses the transaction.
	Data() string
}

// EnqueueRequest is a batch of enqueues.
type EnqueueRequest struct {
	Rows []NewRow // in the order in which they count
	// NoWait asks for an error soon, with nothing done, in place of a wait for
	// somebody's open transaction or for a server that is not there. The client
	// sets it where callers who do not know each other share the call: if it
	// fails, each of them sends its row alone, and waits as long as it may.
	NoWait bool
}

// NewRow is one enqueue with everything decided: all that a store needs to
// insert the job, or to answer for the job that is met.
type NewRow struct {
	ID       string   // made by the client, or the caller's own
	Nonce    [16]byte // random for each enqueue; a call that is sent again repeats it
	Kind     string   // of the args
	Queue    string   // where workers fetch it
	Args     []byte   // encoded
	Encoding string   // of Args: EncodingJSON or EncodingBytes
	Meta     []byte   // a JSON object, or nil
	Tags     []string // labels for people
	// Extra is what else the enqueue said of the job, at most MaxExtra bytes. A
	// store keeps it as it is and never looks into it. It goes with Args:
	// whatever replaces these replaces it too. nil = nothing was said.
	Extra []byte

	Priority    int           // 0 (first) to 9 (last)
	MaxAttempts int           // the job is discarded when so many have failed
	Timeout     time.Duration // of one run; 0 = none
	Retention   time.Duration // of the completed job; 0 = deleted when it completes
	// RetentionFailed is that of the discarded or cancelled job. A client always
	// fills it, with Retention where nothing else was said.
	RetentionFailed time.Duration
	Delay           time.Duration // from the store's now
	RunAt           time.Time     // in place of Delay unless zero; one that has passed means now

	Claim     *Claim        // nil = not unique: it holds nothing and meets nothing
	Reactions Reactions     // what to do where the key is held
	Write     JobFields     // what ActionWrite writes
	MaxWait   time.Duration // of ActionPushBack

	made  bool // the ID was made for this call, so that nobody else can have it
	again bool // it was sent before, so that the store may know the ID
	token bool // Nonce is the caller's own

	unguarded bool       // package guard was told NotUnique: there is nothing to enqueue
	terms     string     // for the tally; "" = it does not want them
	span      trace.Span // of the enqueue; nil = it has none
}

// Made reports whether a client made the ID for this call, so that no other job
// can have it. The call itself may be sent twice.
func (r *NewRow) Made() bool { return r.made }

// Claim is the key that a new job wants to hold.
type Claim struct {
	Key    Key      // never zero
	Text   string   // the readable key, at most 1 KiB
	Digest [16]byte // of the args, by value
	Hold   Hold     // how long the key is held
}

// JobFields is a set of fields of a job that an enqueue writes to a holder. Its
// numbers stand in SQL and Lua.
type JobFields uint8

// The fields. They are combined with |.
const (
	FieldArgs        JobFields = 1 << iota // Args, and with them Encoding, Digest and Extra
	FieldMeta                              // Meta
	FieldPriority                          // Priority
	FieldRunAt                             // RunAt
	FieldMaxAttempts                       // MaxAttempts
	FieldTags                              // Tags
)

var fieldNames = [...]string{"args", "meta", "priority", "run_at", "max_attempts", "tags"}

// String lists the fields, e.g. "args,run_at".
func (f JobFields) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(FieldArgs<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Action is what an enqueue does to the job that it meets. Its numbers stand in
// SQL and Lua.
type Action uint8

// The actions, each with the [Outcome] that it leads to.
const (
	// ActionAnswer writes nothing: Skipped.
	ActionAnswer Action = iota
	// ActionRefuse writes nothing: Rejected.
	ActionRefuse
	// ActionWrite gives the waiting holder the values of the fields in
	// NewRow.Write; FieldRunAt gives it the new row's run time: Replaced.
	ActionWrite
	// ActionPushBack gives the waiting holder the new args and a later run
	// time: the new row's, but at most the holder's enqueue + MaxWait:
	// Replaced.
	ActionPushBack
	// ActionMerge gives the waiting holder the new args and the earlier of
	// the two run times; a Retryable holder keeps its own run time:
	// Replaced. If a waiter stands behind the holder, the waiter takes them
	// instead, as in ActionStand.
	ActionMerge
	// ActionStand puts the new job behind the running holder as its waiter:
	// Coalesced. If a waiter stands there already, that one takes the new
	// args and options (all but ID, Nonce, Origin, Displaced and
	// EnqueuedAt) and the earlier of the two run times: Replaced.
	ActionStand
	// ActionTake takes the key: Superseded. A waiting holder is Cancelled
	// and the new job holds the key, behind the job that the holder stood
	// behind, if any. A running holder is asked to stop and the new job
	// stands behind it. A waiter that stood there is Cancelled.
	ActionTake
)

var actionNames = [...]string{"answer", "refuse", "write", "pushback", "merge", "stand", "take"}

// String is the name of the action in SQL and Lua; "" = there is no such
// action.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return ""
}

// outcome is what the action leads to; waiter says that one stands behind
// the holder.
func (a Action) outcome(waiter bool) Outcome {
	switch a {
	case ActionRefuse:
		return Rejected
	case ActionWrite, ActionPushBack, ActionMerge:
		return Replaced
	case ActionStand:
		if waiter {
			return Replaced
		}
		return Coalesced
	case ActionTake:
		return Superseded
	}
	return Skipped
}

// Reactions is a conflict policy as data: one action for each state of the
// holder. The zero value is ActionAnswer in all of them.
type Reactions struct {
	Scheduled, Available, Retryable, Running Action // the holder is in that state
	Ended                                    Action // it is finished, or gone but still held
}

// On returns the action for a holder in this state.
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

// Writes reports whether the holder is written to in some state. A policy that
// never writes can be answered from a snapshot.
func (r Reactions) Writes() bool {
	return max(r.Scheduled, r.Available, r.Retryable, r.Running, r.Ended) > ActionRefuse
}

// Refuses reports whether the enqueue is refused in every state: the policy is
// Reject.
func (r Reactions) Refuses() bool { return r.Scheduled == ActionRefuse }

// EnqueueResult is the store's answer to one NewRow.
type EnqueueResult struct {
	Outcome Outcome // what was done
	// Job is the job that stands for the row, never nil. For a holder whose
	// row is gone it has ID, Kind, Queue, Key, KeyText and State.
	Job *JobRow
	// Conflict is nil when Inserted. Where By is "id", the client fills in
	// ArgsDiffer.
	Conflict *Conflict
	// FreesAt is, for an inserted job that holds its key, when a clock
	// frees the key, in milliseconds ([Never]: no clock does); 0 for any
	// other job.
	FreesAt int64
}

// FetchRequest asks for jobs to run.
type FetchRequest struct {
	Worker string       // as Extend made it known
	No     int64        // the number of this fetch: 1, 2, 3 … for each worker
	Queues []QueueSlots // which queues, and how many jobs of each
	Kinds  []string     // only these; nil = any
	// MaxBytes bounds the args and meta of all jobs together: a fetch stops
	// there and answers that there may be more at once. At least one job is
	// given, however large it is. 0 = no bound.
	MaxBytes int
}

// QueueSlots says how many jobs of a queue are wanted.
type QueueSlots struct {
	Queue string // its name
	Slots int    // at most so many jobs; 0 = start none, and say in NextDue whether any is due
}

// Fetched is what Fetch started.
type Fetched struct {
	Jobs []*JobRow // now Running, for this worker
	// NextDue is how long until the next waiting job of these queues is
	// due, or the pause of one ends, so that the worker can sleep till then.
	// 0 = there may be more at once; negative = no job waits for its time.
	NextDue time.Duration
}

// Run names one run of a job.
type Run struct {
	ID  string // of the job
	Run int64  // the run number
}

// ExtendRequest is a worker's heartbeat.
type ExtendRequest struct {
	Worker      string        // its name, new for each [Worker.Run]
	Lease       time.Duration // 0 = the worker leaves
	Runs        []Run         // all runs that it has
	FetchesDone int64         // every fetch up to this number was answered, or given up
	// About is what the worker says of itself, for people: a JSON object of at
	// most MaxAbout bytes (see [WorkerAbout]). nil = as it said before.
	About []byte
}

// MaxAbout is how many bytes a worker may say of itself.
const MaxAbout = 2 << 10

// Extended is the answer to a heartbeat.
type Extended struct {
	Lost []Run // of Runs: no longer this worker's, their results do not count
	Stop []Run // of Runs: an operator or a new job asked them to stop
	Back int   // how many jobs were handed back
}

// FinishRequest is a batch of results.
type FinishRequest struct {
	Runs []Finish // at most one for each job
	// NoWait asks for FinishBusy in place of a wait for somebody's open
	// transaction.
	NoWait bool
}

// Finish ends one run of a job.
type Finish struct {
	ID     string // of the job
	Run    int64  // the run number, as fetched
	Worker string // that has the run
	Rescue bool   // the worker is lost: Worker is the rescuer, the run is another's
	// State is Completed, Discarded, Cancelled, Retryable or Scheduled (a
	// snooze, or a hand-back with Delay 0). If a cancel of the running job
	// was requested, every State but Completed becomes Cancelled.
	State    State
	Delay    time.Duration // until the next run, for Retryable and Scheduled
	GiveBack bool          // the attempt is not spent
	Error    string        // recorded with the attempt unless empty
	Stack    string        // of a panic, recorded with Error
	// Result is kept with the job if this ends it, in place of an earlier one.
	// nil = none. Only Get hands it out.
	Result []byte
}

// FinishStatus says whether a Finish took effect.
type FinishStatus uint8

// The statuses.
const (
	FinishDone FinishStatus = iota // it took effect
	FinishLost                     // another run of the job is current, or somebody else ended this one
	FinishGone                     // there is no such job, or no longer
	FinishBusy                     // only with NoWait: nothing happened, an open transaction has the job
)

// FinishResult is the answer to one Finish.
type FinishResult struct {
	Status FinishStatus // whether it took effect
	State  State        // as recorded
	// Wake is the queue in which this step made a job due (the waiter
	// behind the job, or the job itself), or "".
	Wake string
}

// Op is an operator's step. Its numbers stand in SQL and Lua.
type Op uint8

// The operator's steps.
const (
	// OpCancel cancels a waiting job and asks a running one to stop. A
	// Cancelled job stays as it is. Others are refused.
	OpCancel Op = iota + 1
	// OpRetry makes a finished job due now, with at least one more attempt, and
	// takes its key again. Its result is forgotten. A Retryable job becomes due
	// now. Others are refused.
	OpRetry
	// OpRunNow makes a waiting job due now. It is refused for a job that stands
	// behind another.
	OpRunNow
	// OpDelete removes a job; every event of its key has then come. It is
	// refused while the job runs.
	OpDelete
	// OpPause lets no later Fetch start a job of the queue, until OpResume or for
	// Delay, if that is not zero. The latest OpPause counts.
	OpPause
	// OpResume undoes OpPause.
	OpResume
	// OpRelease frees the key, or passes it to the waiter.
	OpRelease
	// OpStart starts a waiting job for a worker now, exactly as if the fetch
	// numbered No had brought it. One that is not due is made due first, as
	// OpRunNow does it. It is refused for a job that does
	// not wait, stands behind another, or whose queue is paused ([*InvalidError],
	// Field "state" or "queue"), and with [ErrLeaseLost] for a worker that
	// Extend does not know. A repeat with the same Worker and No, while that
	// run goes on, changes nothing and is answered alike.
	OpStart
	// OpMove gives a waiting job another run time, as Replace with RunAt does. It
	// is refused for a job that does not wait, or stands behind another.
	OpMove
)

// Change is an operator's step.
type Change struct {
	Op  Op       // the step
	IDs []string // jobs, for OpCancel, OpRetry, OpRunNow, OpDelete, OpStart, OpMove
	// States limits these steps to jobs in one of these states; the answer for
	// others is ErrNotFound. nil = any state.
	States     []State
	WithoutKey bool   // OpRetry: where another job holds the key, run without it
	Queue      string // for OpPause, OpResume
	Key        Key    // for OpRelease
	// Holder limits OpRelease to a key that this job holds; for another holder
	// the answer is ErrNotFound. "" = whoever holds it.
	Holder string
	Worker string        // for OpStart, as Extend made it known
	No     int64         // for OpStart: the number of this fetch, as [FetchRequest].No
	Delay  time.Duration // for OpMove, from the store's now; for OpPause how long, 0 = without end
	RunAt  time.Time     // for OpMove, in place of Delay unless zero; one that has passed means now
}

// ChangeResult says what became of one job. A queue or a key has one result,
// without a job.
type ChangeResult struct {
	// Job is the job after the change; for OpDelete before it. It has its
	// Args only where the Change names one job: many of them may be too
	// much to read.
	Job *JobRow
	// Err is nil, ErrNotFound, [*InvalidError] (Field "state": the job
	// cannot do that now; Field "queue": the queue is paused),
	// [*DuplicateError] (OpRetry: another job holds the key) or an error that
	// wraps ErrLeaseLost (OpStart: the worker is not known).
	Err error
}

// ListRequest asks for a page of jobs. Its fields choose them as those of
// [JobFilter] do.
type ListRequest struct {
	States []State   // in one of these states; nil = in any
	Queue  string    // "" = any
	Kind   string    // "" = any
	Key    *Key      // that were enqueued with this key; nil = any
	Tag    string    // that have this tag; "" = any
	Worker string    // that this worker runs, or ran last; "" = any
	After  time.Time // enqueued at this instant or later; zero = any
	Before time.Time // enqueued before this instant; zero = any
	Args   bool      // with their args and meta; else JobRow.Args is nil

	Cursor string // only jobs with a smaller ID: Next of the page before, or any ID; "" = begin
	Limit  int    // at most so many jobs: 1 … 1000
	Look   int    // look at no more than so many jobs for this page; 0 = MaxLook
}

// A page of a list is bounded by what is looked at, too: where few jobs or
// keys match, it ends early, even empty, and its cursor says where to go on.
const (
	MaxLook     = 20_000                 // rows that are looked at for a page
	MaxLookTime = 200 * time.Millisecond // about how long rows are looked at for a page
)

// MaxPageBytes bounds the args and meta of a page of jobs that was asked
// for with args ([JobFilter.Args]). A page ends before the job that would
// go beyond, but it has at least one.
const MaxPageBytes = 4 << 20

// JobPage is a page of jobs.
type JobPage struct {
	Jobs   []*JobRow // by ID, the largest first
	Next   string    // the cursor for the page after; "" = this is the last
	Looked int       // how many jobs were looked at, about
	Now    time.Time // the store's clock
}

// KeysRequest asks for a page of keys. Its fields choose them as those of
// [KeyFilter] do.
type KeysRequest struct {
	Queue string // of the holder; "" = any
	Kind  string // of the holder; "" = any
	From  string // keys whose hexadecimal form begins with this; "" = any
	Text  string // keys whose readable text contains this; "" = any
	Inert bool   // also keys that are free and were not swept yet

	Key    *Key   // only this one; nil = all
	Cursor string // that of the page before; "" = begin
	Limit  int    // at most so many keys: 1 … 1000
	Look   int    // look at no more than so many keys for this page; 0 = MaxLook
	// Late allows a store that has no order of keys to leave out those that
	// were taken in the last ten seconds, and so to spare itself a pass over
	// all keys for each first page.
	Late bool
}

// KeyPage is a page of keys.
type KeyPage struct {
	Keys   []*HeldKey // in the order of the keys
	Next   string     // the cursor for the page after; "" = this is the last
	Looked int        // how many keys were looked at, about
	Now    time.Time  // the store's clock
}

// QueuesRequest asks for the queues.
type QueuesRequest struct {
	// Most is up to how many jobs of a queue and state are counted at least;
	// beyond, a count may be a lower bound. 0 = MaxCount.
	Most int
}

// MaxCount is up to how many jobs of a queue and state [Client.Queues] counts.
const MaxCount = 10_000

// QueueList is all queues.
type QueueList struct {
	Queues []QueueInfo // by name
	Now    time.Time   // the store's clock
}

// SweepRequest asks for a round of tidying.
type SweepRequest struct {
	Limit int // rows of each kind, at most
	// Lost are workers that the caller has seen twice with an expired lease and
	// the same beat, some time apart by its own monotonic clock. If the beat is
	// still that one and the lease still over, the store lists their runs, and
	// forgets a worker that has no run left.
	Lost []Beat
}

// Beat identifies one heartbeat of a worker.
type Beat struct {
	Worker string // its name
	No     int64  // how many heartbeats it has sent
}

// Swept is what a round of tidying found and did.
type Swept struct {
	// Expired are the workers whose lease is over by the store's clock. A
	// worker that has runs but is not known is among them, with No -1.
	Expired []Beat
	// Runs are those of confirmed lost workers, to be ended by Finish with Rescue.
	// They come without their Args.
	Runs []*JobRow
	Jobs int  // finished jobs that were pruned
	Keys int  // key rows that were dropped
	More bool // there was more to do than Limit
}

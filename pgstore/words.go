package pgstore

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/onceq/onceq"
)

// The numbers of change_v2 for the steps.
const (
	opCancel = iota + 1
	opRetry
	opRunNow
	opDelete
	opStart
	opMove
)

// The numbers of change_v2 for its outcomes. 6 was one in older versions.
const (
	changeDone = iota
	changeNotFound
	changeOver       // refused: the job is finished
	changeNotWaiting // refused: the job does not wait
	changeBehind     // refused: the job stands behind another
	changeNotOver    // refused: the job is not finished
	_
	changeRunning // refused: the job runs
	changeKeyHeld // refused: another job holds the key
	changeNoWorker
	changePaused
)

// The numbers of release_v2 for its outcomes.
const (
	releaseDone = iota
	releaseNotFound
	releaseBehind // refused: its holder stands behind another
)

// finishWake is the number of a queue to wake among those of FinishStatus.
const finishWake = 4

// The numbers of extend_v2 for what it says.
const (
	extendLost = iota + 1
	extendStop
	extendBack
	extendWake
)

// The numbers of sweep_v1 for what it says, and the beat of a worker that has
// runs and is not known.
const (
	sweepExpired = iota + 1
	sweepRun
	sweepJobs
	sweepKeys
	sweepMore

	unknownBeat = -1
)

// The indexes of look_v1, see list.go.
const (
	waitingJobs = 1 << iota
	standingJobs
	runningJobs
	otherJobs
)

// What an answer_v1 says by c_by, by c_differ, by c_state and, where it is
// none to a row, by i.
const (
	byKey = 1
	byID  = 2

	argsSame   = 1
	argsDiffer = 2

	stateGone = -1 // in place of a state: the job is gone

	rowOfTime = 0  // it tells the time
	rowOfName = -1 // c_holder names a worker with a run to stop, or a queue to wake
)

// fetchNoWorker is what fetch_v3 says in place of a run time to a worker that
// is not known.
const fetchNoWorker = -1

// words are what a word in braces stands for in a statement. $ is the alias
// that follows the word: {waits j}. So a number has a name in every text, and
// the name costs nothing when a statement runs. Numbers of states, events and
// the like are in databases that are there: none ever changes.
var words = func() map[string]string {
	all := map[string]string{}
	number := func(name string, n int) {
		all[strings.NewReplacer(" ", "_", "-", "_").Replace(name)] = strconv.Itoa(n)
	}
	for code, state := range stateOf {
		number(string(state), code)
	}
	for code, outcome := range outcomeOf {
		number(string(outcome), code)
	}
	for u := onceq.UntilDue; u <= onceq.UntilWindowEnds; u++ {
		number("until_"+u.String(), int(u))
	}
	for a := onceq.ActionAnswer; a.String() != ""; a++ {
		number("action_"+a.String(), int(a))
	}
	for name, n := range map[string]int{
		"until_came": 0, // in place of a pending event: it has come, or there is none

		"field_args": int(onceq.FieldArgs), "field_meta": int(onceq.FieldMeta),
		"field_priority": int(onceq.FieldPriority), "field_run_at": int(onceq.FieldRunAt),
		"field_max_attempts": int(onceq.FieldMaxAttempts), "field_tags": int(onceq.FieldTags),

		"by_key": byKey, "by_id": byID, "args_same": argsSame, "args_differ": argsDiffer,
		"state_gone": stateGone, "row_of_time": rowOfTime, "row_of_name": rowOfName,

		"op_cancel": opCancel, "op_retry": opRetry, "op_run_now": opRunNow, "op_delete": opDelete,
		"op_start": opStart, "op_move": opMove,
		"change_done": changeDone, "change_not_found": changeNotFound, "change_over": changeOver,
		"change_not_waiting": changeNotWaiting, "change_behind": changeBehind, "change_not_over": changeNotOver,
		"change_running": changeRunning, "change_key_held": changeKeyHeld, "change_no_worker": changeNoWorker,
		"change_paused": changePaused,
		"release_done":  releaseDone, "release_not_found": releaseNotFound, "release_behind": releaseBehind,

		"finish_done": int(onceq.FinishDone), "finish_lost": int(onceq.FinishLost),
		"finish_gone": int(onceq.FinishGone), "finish_busy": int(onceq.FinishBusy), "finish_wake": finishWake,
		"extend_lost": extendLost, "extend_stop": extendStop, "extend_back": extendBack, "extend_wake": extendWake,
		"sweep_expired": sweepExpired, "sweep_run": sweepRun, "sweep_jobs": sweepJobs, "sweep_keys": sweepKeys,
		"sweep_more": sweepMore, "unknown_beat": unknownBeat,
		"fetch_no_worker": fetchNoWorker,
		"list_waiting":    waitingJobs, "list_standing": standingJobs, "list_running": runningJobs,
		"list_other": otherJobs,

		// In reactions: some action is none of answer and refuse.
		"writing_reactions": (7 &^ 1) * 0o11111,
		"usual_retention":   int(usualRetention.Milliseconds()),
	} {
		number(name, n)
	}
	// A key that no clock frees is so in an answer; it stands for no bound too.
	all["never"] = strconv.FormatInt(math.MaxInt64, 10)

	// The conditions of indexes, as those have them. {waits j} is that of
	// jobs_waiting, {other j} of jobs_other, {counted j} of jobs_states.
	all["waits"] = "$.state <= " + all["retryable"] + " and $.behind is null"
	all["other"] = among("$.state", all, "retryable", "discarded", "cancelled")
	all["counted"] = among("$.state", all, "retryable", "completed", "discarded", "cancelled")
	// How long a finished job is kept, as jobs_finished has it.
	all["kept"] = "coalesce(case when $.state > " + all["completed"] + " then $.retention_failed end, $.retention, " +
		all["usual_retention"] + ")"
	// A job's place in jobs_waiting, and the same in jobs_kinds.
	all["at"] = "(($.priority::bigint << 48) + $.run_at)"
	all["kinds_at"] = "($.run_at + ($.priority::bigint << 48))"
	// It waits in of_queue and is of the kind asked for; for jobs_kinds.
	all["of_kind"] = "hashtextextended($.kind, hashtextextended($.queue, 0)) = " +
		"hashtextextended(asked.kind, hashtextextended(of_queue, 0)) and $.kind = asked.kind and " +
		"$.queue || '' = of_queue and " + all["waits"]
	// The priorities, and the floor of queue number q.n for one: see fetch.sql.
	all["priorities"] = "generate_series(0::bigint, 9::bigint)"
	all["floor_of"] = "floors[q.n * 10 + $.priority - 9]"
	all["bytes"] = "octet_length($.args) + coalesce(octet_length($.meta::text), 0)"
	return all
}()

// among is the condition that a column has one of some values.
func among(column string, values map[string]string, names ...string) string {
	var all []string
	for _, name := range names {
		all = append(all, values[name])
	}
	return fmt.Sprintf("%s in (%s)", column, strings.Join(all, ", "))
}

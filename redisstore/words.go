package redisstore

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/onceq/onceq"
)

// Numbers and formats have names in the scripts, in capitals and with an
// underscore: STATE_RUNNING, KEYROW_HOLDER. Each is named here, once, and
// load puts its value in its place. So a name costs nothing when a script
// runs.

// records are what the scripts pack into strings, a line each: the name of
// the record, and its fields. A field is a name and its format, as
// struct.pack has it: B, I2 to I6 are numbers of so many bytes, c16 is so
// many bytes as they are, Bc0 is a byte of length and the bytes.
//
// RECORD_FORMAT is the format of the whole record, RECORD_FIELD where a field
// begins (from 1), as long as nothing before it varies in length, and
// RECORD_SIZE is the length of a record that does not vary.
const records = `
HEAD    A:B B:B ENQUEUED:I6 RUNAT:I6 REF:c4 NONCE:c8 KEY:c32
LONG    ATTEMPT:I3 MAX:I3 RUN:I5 ANCHOR:I6 STARTED:I6 FINISHED:I6 FETCH:I6 ENCODING:B
        WORKER:Bc0 BEHIND:Bc0 DISPLACED:Bc0 SUPERSEDED:Bc0
PROFILE KIND:Bc0 QUEUE:Bc0 ENCODING:B MAX:I3 TIMEOUT:I6 RETENTION:I6 UNTIL:B WINDOW:I6 TTL:I6 FROMENQUEUE:B
KEYROW  NUL:B FORM:B PENDING:B FREES:I6 SINCE:I6 HOLDER:Bc0 NEXT:Bc0
GONE    KIND:Bc0 QUEUE:Bc0 STATE:B DIGEST:c16
ERROR   ATTEMPT:I3 RUN:I5 AT:I6
QUEUE   NUMBER:I3 PAUSED:B SLEEPERS:B BEHIND:I5 RUNNING:I5 COMPLETED:I5 DISCARDED:I5 CANCELLED:I5
WORKER  LEASEENDS:I6 BEAT:I6 TOKEN:c8 FETCH:I6 LEASE:I6
PLAN    A:B B:B MODE:B QUEUE:B PROFILE:B LEADER:I2 INSTANT:B TIME:I6
        SCHEDULED:B AVAILABLE:B RETRYABLE:B RUNNING:B ENDED:B WRITE:B MAXWAIT:I6 FREE:B
        UNTIL:B FROMENQUEUE:B WINDOW:I6 TTL:I6 COVER:I3
SPEC    RUN:I5 STATE:B FLAGS:B DELAY:I6 WORKER:Bc0
PLACE   PRIORITY:B RUNAT:I6
ID      HEAD:I3 NUL:x A:I6 B:I6 C:I3
`

var words = func() map[string]string {
	all := map[string]string{}
	number := func(name string, n int64) { all[strings.ToUpper(name)] = strconv.FormatInt(n, 10) }
	for i, s := range states {
		number("state_"+string(s), int64(i))
	}
	for i, o := range origins {
		number("origin_"+string(o), int64(i))
	}
	for i, o := range outcomes {
		number("outcome_"+string(o), int64(i))
	}
	for u := onceq.UntilDue; u <= onceq.UntilWindowEnds; u++ {
		number("until_"+strings.ReplaceAll(u.String(), "-", "_"), int64(u))
	}
	for a := onceq.ActionAnswer; a.String() != ""; a++ {
		number("action_"+a.String(), int64(a))
	}
	for name, n := range map[string]int64{
		"UNTIL_CAME": 0, // in place of a pending event: it has come, or there is none

		"FIELD_ARGS": int64(onceq.FieldArgs), "FIELD_META": int64(onceq.FieldMeta),
		"FIELD_PRIORITY": int64(onceq.FieldPriority), "FIELD_RUNAT": int64(onceq.FieldRunAt),
		"FIELD_MAXATTEMPTS": int64(onceq.FieldMaxAttempts), "FIELD_TAGS": int64(onceq.FieldTags),

		"MODE_PLAIN": modePlain, "MODE_WRITES": modeWrites, "MODE_HARD": modeHard,
		"MODE_FOLLOWER": modeFollower, "MODE_CLOCKS": modeClocks,

		// the first byte of a head, and the second
		"A_STATE": headState, "A_ORIGIN": headOrigin, "A_KEY": headKey,
		"A_KEYLESS": headKeyless, "A_CANCEL": headCancel,
		"B_PRIORITY": headPriority, "B_LONG": headLong, "B_NOW": headNow, "B_INLINE": headInline, "B_MADE": headMade,

		"BODY_META": bodyMeta, "BODY_TAGS": bodyTags, "BODY_COMPRESSED": bodyTold, "BODY_NILARGS": bodyNilArgs,
		"BODY_LARGE": largeBody,

		// where the row of a queue counts a job: see class in rows.lua
		"COUNT_WAITING": 1, "COUNT_BEHIND": 2, "COUNT_RUNNING": stRunning + 1, "COUNT_COMPLETED": stCompleted + 1,
		"COUNT_DISCARDED": stDiscarded + 1, "COUNT_CANCELLED": stCancelled + 1,

		"KEYROW_CLOCK": 1, "KEYROW_GONE": 2, // its forms
		"SPEC_RESCUE": finishRescue, "SPEC_GIVEBACK": finishGiveBack, "SPEC_RESULT": finishResult, // its flags
		"ANSWER_INSERTED": answerInserted, "ANSWER_ECHO": answerEcho, "ANSWER_ID": answerID, "ANSWER_KEY": answerKey,
		"TIME_NEVER": never, "FORM_TWO": int64(formNew[0]),
	} {
		number(name, n)
	}
	maps.Copy(all, layouts(records))
	return all
}()

// layouts are the words of records.
func layouts(text string) map[string]string {
	all := map[string]string{}
	record, format, at := "", "", 0
	end := func() {
		if record != "" {
			all[record+"_FORMAT"] = "'>" + format + "'"
			if at > 0 {
				all[record+"_SIZE"] = strconv.Itoa(at - 1)
			}
		}
	}
	for line := range strings.Lines(text) {
		if line[0] > ' ' {
			end()
			record, line, _ = strings.Cut(line, " ")
			format, at = "", 1
		}
		for f := range strings.FieldsSeq(line) {
			name, form, _ := strings.Cut(f, ":")
			format += form
			if at == 0 {
				continue // what is before it varies in length
			}
			all[record+"_"+name] = strconv.Itoa(at)
			switch {
			case form == "Bc0":
				at = 0
			case len(form) == 1:
				at++
			default:
				n, _ := strconv.Atoi(form[1:])
				at += n
			}
		}
	}
	end()
	return all
}

var word = regexp.MustCompile(`\b[A-Z]+(?:_[A-Z]+)+\b`)

// spell puts values in place of the words of a script.
func spell(script string) string {
	return word.ReplaceAllStringFunc(script, func(w string) string {
		value, ok := words[w]
		if !ok {
			panic(fmt.Sprintf("redisstore: no script may say %s: words.go does not have it", w))
		}
		return value
	})
}

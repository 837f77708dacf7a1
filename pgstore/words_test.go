package pgstore

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What functions say to programs of the version before, and are told by them.
func TestNumbersBetweenFunctionsAndProgramsNeverChange(t *testing.T) {
	t.Parallel()
	for w, want := range map[string]string{
		"running": "2", "available": "6", "superseded": "5", "until_came": "0", "until_window_ends": "7",
		"action_answer": "0", "action_refuse": "1", "action_write": "2", "action_pushback": "3", "action_merge": "4",
		"action_stand": "5", "action_take": "6", "writing_reactions": "28086",
		"field_args": "1", "field_meta": "2", "field_priority": "4", "field_run_at": "8", "field_max_attempts": "16",
		"field_tags": "32",
		"op_cancel":  "1", "op_retry": "2", "op_run_now": "3", "op_delete": "4", "op_start": "5", "op_move": "6",
		"change_done": "0", "change_not_found": "1", "change_over": "2", "change_not_waiting": "3",
		"change_behind": "4", "change_not_over": "5", "change_running": "7", "change_key_held": "8",
		"change_no_worker": "9", "change_paused": "10",
		"release_done": "0", "release_not_found": "1", "release_behind": "2",
		"finish_done": "0", "finish_lost": "1", "finish_gone": "2", "finish_busy": "3", "finish_wake": "4",
		"extend_lost": "1", "extend_stop": "2", "extend_back": "3", "extend_wake": "4",
		"sweep_expired": "1", "sweep_run": "2", "sweep_jobs": "3", "sweep_keys": "4", "sweep_more": "5",
		"unknown_beat": "-1", "fetch_no_worker": "-1", "row_of_time": "0", "row_of_name": "-1",
		"list_waiting": "1", "list_standing": "2", "list_running": "4", "list_other": "8",
		"by_key": "1", "by_id": "2", "args_same": "1", "args_differ": "2",
		"usual_retention": "86400000", "never": "9223372036854775807",
	} {
		if words[w] != want {
			t.Errorf("{%s} is %q, and stands for %s in functions and programs that are there", w, words[w], want)
		}
	}
	for name, want := range map[string]string{"priority": "nums[1]", "reactions": "nums[12]", "max_wait": "nums[14]"} {
		if got := firstNumber(name); got != want {
			t.Errorf("{first %s} is %s, and programs that are there send it as %s", name, got, want)
		}
	}
}

// bare finds a number where a text should say its name.
var bare = regexp.MustCompile(`(?i)\b(?:state|states\[[^]]*\]|shown|final|ended|hold_until|pending|was|origin|` +
	`action|outcome|op|refused|status|what|by|c_by|c_differ|fields|indexes &|\{n (?:reactions|write)\})` +
	`(?:::\w+)? *(?:=|<>|<=|>=|<|>|:=|in \(|&|>>|<<) *\d` +
	`|\d::smallint|\bwhen \d|nums\[[^i]|86400000|9223372036854775807` +
	`|select -?[1-9]|select (?:try|0), (?:i, )?-?\d|return query select .*, -1\b`)

// Every word of a text has a value, no word is there for nothing, and no text
// says a number that has a name.
func TestTextsSayNumbersByTheirNames(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, name := range sqlFiles("schema/functions") {
		text := regexp.MustCompile(`--.*`).ReplaceAllString(read(name), "")
		for line := range strings.SplitSeq(text, "\n") {
			if found := bare.FindString(line); found != "" {
				t.Errorf("%s: %q has a bare number: see words.go for its name\n%s", name, found, line)
			}
		}
		for _, m := range token.FindAllStringSubmatch(text, -1) {
			said[m[1]] = true
		}
		if left := token.FindString(strings.ReplaceAll(expand(text, "onceq"), "$$", "")); left != "" {
			t.Errorf("%s says %s, which is no word", name, left)
		}
	}
	for w := range words {
		family, _, _ := strings.Cut(w, "_")
		if !said[w] && !slices.Contains([]string{"until", "action", "op"}, family) {
			t.Errorf("no text says {%s}", w)
		}
	}
}

// As in Go, see TestFilesAndFunctionsAreNotTooLong.
func TestFunctionsOfTheServerAreNotTooLong(t *testing.T) {
	t.Parallel()
	whole := regexp.MustCompile(`(?ms)^create or replace function \{ns\}\.(\w+).*?^(?:end )?\$\$;$`)
	for _, name := range sqlFiles("schema/functions") {
		text := read(name)
		found := whole.FindAllStringSubmatch(text, -1)
		if want := strings.Count(text, "\ncreate or replace function "); len(found) < want {
			t.Errorf("%s has %d functions, and the end of %d is found", name, want, len(found))
		}
		for _, f := range found {
			if n := strings.Count(f[0], "\n") + 1; n > 80 {
				t.Errorf("%s: %s has %d lines, at most 80: give a part of it a name", name, f[1], n)
			}
		}
		top := regexp.MustCompile(`^(?:--.*\n)*`).FindString(text)
		for _, f := range found {
			if len(found) > 1 && !strings.Contains(top, f[1]) {
				t.Errorf("%s begins with no map of its functions that has %s", name, f[1])
			}
		}
	}
}

package onceq

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bounds of a job.
const (
	MaxNameSize    = 128       // bytes of a queue name, a kind or a tag
	MaxIDSize      = 255       // bytes
	MaxKeySize     = 1 << 10   // bytes of a caller's own key, and of the readable text of any key
	DefaultMaxArgs = 256 << 10 // bytes of args, unless Config.MaxArgs says otherwise
	MaxArgsSize    = 16 << 20  // bytes of args, whatever Config.MaxArgs says
	MaxMetaSize    = 64 << 10  // bytes of meta as JSON
	MaxTags        = 32        // tags of a job
	MaxBatch       = 10_000    // items of one EnqueueMany
	MaxBatchBytes  = 64 << 20  // bytes of args, meta and tags of all items of one EnqueueMany
	maxAttempts    = 1_000_000 // attempts that MaxAttempts may allow
	maxDuration    = 100 * 365 * 24 * time.Hour
)

// checkName checks the name of a queue, a kind or a tag.
func checkName(field, name string) error {
	switch {
	case name == "":
		return invalid(field, "", "must not be empty")
	case len(name) > MaxNameSize:
		return invalid(field, name, "must be at most %d bytes long, not %d", MaxNameSize, len(name))
	case !utf8.ValidString(name):
		return invalid(field, name, "must be valid UTF-8")
	case strings.TrimSpace(name) != name:
		return invalid(field, name, "must not begin or end with white space")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid(field, name, "must be printable, without control characters")
	}
	return nil
}

func checkID(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return invalid("ID", id, "must not be blank; leave ID away to have one made")
	case len(id) > MaxIDSize:
		return invalid("ID", id, "must be at most %d bytes long, not %d", MaxIDSize, len(id))
	case !utf8.ValidString(id):
		return invalid("ID", id, "must be valid UTF-8")
	case strings.ContainsRune(id, 0):
		return invalid("ID", id, "must not contain NUL")
	case id == "." || id == "..":
		return invalid("ID", id, "means a folder in paths and URLs, where an ID is one segment: choose another")
	}
	return nil
}

// checkDuration checks a length of time that a caller gave: stores keep
// whole milliseconds.
func checkDuration(field string, d time.Duration) error {
	switch {
	case d < time.Millisecond:
		return invalid(field, d, "must be at least 1ms")
	case d > maxDuration:
		return invalid(field, d, "must be at most 100 years")
	}
	return nil
}

// ceilMilli rounds up to whole milliseconds, which is what stores keep: a
// promise to hold a key is never cut short.
func ceilMilli(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

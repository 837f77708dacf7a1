package onceq

import (
	"strings"

	"github.com/onceq/onceq/internal/reserved"
)

// reservedPrefix begins the names of the queues and kinds of onceq's own
// jobs.
const reservedPrefix = "onceq."

// ReservedName reports whether a queue or kind of this name belongs to onceq
// itself: it begins with "onceq.". Enqueues and workers cannot name it. Its
// jobs and keys are left out of lists and bulk changes, unless the filter
// names them.
func ReservedName(name string) bool { return strings.HasPrefix(name, reservedPrefix) }

// isReserved reports whether a job is one of onceq's own.
func isReserved(queue, kind string) bool { return ReservedName(queue) || ReservedName(kind) }

// allowReserved is an [Option] of this module only: the enqueue may name a
// reserved queue or kind.
type allowReserved struct{}

func (allowReserved) apply(s *settings) { s.reserved = true }

func init() { reserved.Allow = allowReserved{} }

// checkQueue checks the name of a queue that a user wants to use. Queues that
// are there already can be paused and listed whatever their names.
func checkQueue(field, name string) error {
	switch {
	case name == "." || name == "..":
		return invalid(field, name, "means a folder in paths and URLs, where a queue is one segment: choose another")
	case ReservedName(name):
		return invalid(field, name, "is one of onceq's own, which begin with %q: choose another", reservedPrefix)
	}
	return checkName(field, name)
}

// checkKind checks a kind that a user wants to use.
func checkKind(field, kind string) error {
	if ReservedName(kind) {
		return invalid(field, kind, "is one of onceq's own, which begin with %q: choose another", reservedPrefix)
	}
	return checkName(field, kind)
}

func (s *settings) checkQueue() error {
	if s.reserved || s.guard != nil && s.queueAt == unsaid {
		return checkName("queue", s.queue)
	}
	return checkQueue("queue", s.queue)
}

func (s *settings) checkKind(kind string) error {
	if s.reserved {
		return checkName("kind", kind)
	}
	return checkKind("kind", kind)
}

// hides reports whether a list leaves out a job of onceq's own.
func (f JobFilter) hides(j *JobRow) bool {
	return isReserved(j.Queue, j.Kind) && !f.Reserved && f.Key == nil && !isReserved(f.Queue, f.Kind)
}

// hides reports whether a list leaves out a key that a job of onceq's own
// holds.
func (f KeyFilter) hides(k *HeldKey) bool {
	return isReserved(k.Queue, k.Kind) && !f.Reserved && !isReserved(f.Queue, f.Kind)
}

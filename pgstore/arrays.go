package pgstore

import (
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

// arrays are rows as parallel arrays, see schema/functions/enqueue.sql. A
// missing value is empty there, and never NULL: with array_nulls = off a
// server reads that as four letters.
type arrays struct {
	ids     []string
	nonces  [][]byte
	kinds   []string
	queues  []string
	args    [][]byte
	metas   []string
	tags    []string
	keys    [][]byte
	texts   []string
	digests [][]byte
	nums    []int64
}

// all appends the arrays to the arguments of a statement.
func (a *arrays) all(args []any) []any {
	return append(slices.Grow(args, 13), a.ids, a.nonces, a.kinds, a.queues, a.args, a.metas, a.tags, a.keys, a.texts,
		a.digests, a.nums)
}

// first appends the first row.
func (a *arrays) first(args []any) []any {
	return append(slices.Grow(args, 11), a.ids[0], a.nonces[0], a.kinds[0], a.queues[0], a.args[0], at(a.metas),
		at(a.tags), at(a.keys), at(a.texts), at(a.digests), a.nums)
}

// at is the first element, if there is one.
func at[T any](s []T) any {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

// numbers are the numbers of a row, in their order in nums.
var numbers = []string{"priority", "max_attempts", "timeout", "retention", "delay", "named", "raw", "hold_until",
	"hold_window", "hold_ttl", "from_enqueue", "reactions", "write", "max_wait"}

// numberOf is where number name of row i is in nums.
func numberOf(name string) string {
	return fmt.Sprintf("nums[i * %d - %d]", len(numbers), len(numbers)-1-slices.Index(numbers, name))
}

// firstNumber is the same for the first row.
func firstNumber(name string) string { return fmt.Sprintf("nums[%d]", 1+slices.Index(numbers, name)) }

// arrays are these rows. Their answers count them in this order.
func (b *batch) arrays(which []int) *arrays {
	n := len(which)
	a := &arrays{
		ids: make([]string, n), nonces: make([][]byte, n), kinds: make([]string, n), queues: make([]string, n),
		args: make([][]byte, n),
		nums: make([]int64, 0, n*len(numbers)),
	}
	b.sent = slices.Clone(which)
	for at, i := range which {
		r := &b.rows[i]
		a.ids[at], a.nonces[at], a.kinds[at], a.queues[at] = r.ID, r.Nonce[:], r.Kind, r.Queue
		a.args[at] = r.Args
		if r.Args == nil {
			a.args[at] = []byte{}
		}
		if r.Meta != nil {
			if a.metas == nil {
				a.metas = make([]string, n)
			}
			a.metas[at] = string(r.Meta)
		}
		if len(r.Tags)+len(r.Extra) > 0 || r.RetentionFailed != r.Retention {
			if a.tags == nil {
				a.tags = make([]string, n)
			}
			a.tags[at] = encodeTags(r)
		}
		var hold onceq.Hold
		if r.Claim != nil {
			if a.keys == nil {
				a.keys, a.texts, a.digests = empties(n), make([]string, n), empties(n)
			}
			a.keys[at], a.texts[at], a.digests[at] = r.Claim.Key[:], shortText(r), r.Claim.Digest[:]
			hold = r.Claim.Hold
		}
		var named int64
		if !r.RunAt.IsZero() {
			named = max(1, r.RunAt.UnixMilli())
		}
		re := r.Reactions
		a.nums = append(a.nums, int64(r.Priority), int64(r.MaxAttempts), r.Timeout.Milliseconds(),
			r.Retention.Milliseconds(), r.Delay.Milliseconds(), named,
			flag(r.Encoding == onceq.EncodingBytes), int64(hold.Until), hold.Window.Milliseconds(),
			hold.TTL.Milliseconds(), flag(hold.FromEnqueue),
			int64(re.Scheduled)|int64(re.Available)<<3|int64(re.Retryable)<<6|int64(re.Running)<<9|int64(re.Ended)<<12,
			int64(r.Write), r.MaxWait.Milliseconds())
	}
	return a
}

// alike reports whether the rows differ in no option but meta and tags, so that
// what they say can be told once. Then all of them have a key, or none.
func (a *arrays) alike() bool {
	first := a.nums[:len(numbers)]
	for i := range a.ids {
		if a.kinds[i] != a.kinds[0] || a.queues[i] != a.queues[0] ||
			!slices.Equal(a.nums[i*len(numbers):(i+1)*len(numbers)], first) {
			return false
		}
	}
	return true
}

func empties(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte{}
	}
	return all
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

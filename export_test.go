package onceq

import (
	"fmt"
	"reflect"
	"time"
)

// Waiting is how many enqueues wait for a trip.
func Waiting(c *Client) int { return c.batch.Waiting() }

// TagOf reads the tag of a field, in a form that vet would refuse in a type.
func TagOf(tag string) error {
	_, err := tagOf(reflect.StructField{Tag: reflect.StructTag(tag)}, "T.F")
	return err
}

// MemberOf is the member of a job as JSON for the field of an InvalidError.
func MemberOf(field string) (member string, known bool) {
	member, known = members[field]
	return member, known
}

// KindsThatAreRemembered is how many of n kinds a worker remembers to have
// warned of, if it met one of them each time.
func KindsThatAreRemembered(n int, each time.Duration) int {
	w := newWatcher(nil)
	for i := range n {
		w.warned(fmt.Sprint("kind ", i), time.Unix(0, 0).Add(time.Duration(i)*each))
	}
	return len(w.named)
}

package onceq

import "reflect"

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

package onceq

import "strings"

// KeySecrecy is an [Option] that says whether the readable text of a key may
// show what the key was made of.
type KeySecrecy uint8

// How the text of a key is kept. Neither is said: [ReadableKey], but where a
// [Codec] encodes the args and they are part of the key, [SecretKey].
const (
	// SecretKey makes a digest of the readable text of the key: the key itself
	// in hexadecimal, behind "sha256:". No store, answer, error or log line then
	// has the values that the key was made of. It changes neither the key nor
	// who is a duplicate of whom.
	//
	// Each job keeps the text that its own enqueue asked for. A secret enqueue
	// that meets a job whose text is readable leaves that text in the store, but
	// its own answer, error and log line have the digest. One that is not secret
	// gets the text of the job that it meets, which may be a digest.
	//
	// The key is a fingerprint and no secret: whoever can guess the values can
	// compute it and compare. The args, too, are stored as they are unless a
	// [Codec] encodes them.
	SecretKey KeySecrecy = iota + 1
	// ReadableKey undoes SecretKey of an earlier level, or of a [Codec].
	ReadableKey
)

func (o KeySecrecy) apply(s *settings) {
	if o != SecretKey && o != ReadableKey {
		s.fail(invalid("option", uint8(o), "must be {SecretKey} or {ReadableKey}"))
	}
	s.secrecy, s.secrecyAt = o, s.at
}

// secretKey reports whether the text of the key is to be a digest. encoded
// says that a codec encodes the args.
func (s *settings) secretKey(encoded bool) bool {
	if s.secrecyAt != unsaid {
		return s.secrecy == SecretKey
	}
	return encoded && s.customAt == unsaid && (s.by == 0 || s.by&ByArgs != 0)
}

// secretText is the text of a key that is not to be read. The text of another
// key begins with the name of a part.
func secretText(key Key) string { return secretMark + key.String() }

const secretMark = "sha256:"

func (r *NewRow) isSecret() bool {
	return r.Claim != nil && strings.HasPrefix(r.Claim.Text, secretMark)
}

// hide puts the digest in the place of a readable text of the holder's, if the
// enqueue is secret: the values of both are the same.
func (r *NewRow) hide(c *Conflict, holder *JobRow) {
	if c == nil || !r.isSecret() {
		return
	}
	if c.By == "key" {
		c.Text = r.Claim.Text
	}
	if holder != nil && holder.Key != nil && *holder.Key == r.Claim.Key {
		holder.KeyText = r.Claim.Text
	}
}

// hide does so for a row that is read later: the enqueue of the receipt was
// secret, and the job that stands for it may have the readable text.
func (r Receipt) hide(job *JobRow) {
	if job != nil && job.Key != nil && r.Job.Key != nil && *job.Key == *r.Job.Key &&
		strings.HasPrefix(r.Job.KeyText, secretMark) {
		job.KeyText = r.Job.KeyText
	}
}

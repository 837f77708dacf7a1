package onceq

import "context"

// Prepare decides an enqueue and does not send it: it merges the options,
// checks everything, computes the key and makes the ID and the token. It
// asks no store. The row can be sent with [Store.Enqueue] or [Tx.Enqueue],
// now or later, once or again: as long as its job is kept, a row that is sent
// again gets the answer of the first time. It is for code between a client
// and a store, such as an outbox.
func (c *Client) Prepare(args Args, opts ...Option) (NewRow, error) {
	var row NewRow
	if err := c.rowOf(context.Background(), &row, args, opts, newNonce(), 0); err != nil {
		return NewRow{}, err
	}
	row.own(args)
	row.again = true // the client does not know how often it is sent
	return row, nil
}

// Token says which call this is. The same [ID] and token are the same call,
// whoever makes it: while its job is kept, a repeat gets the answer of the
// first time and changes nothing, even if its args or options differ. The
// same ID with another token is another call, and meets a duplicate. So a
// request that arrives twice, perhaps in two processes, is answered twice
// alike.
//
// A token needs an ID at the same enqueue, must not be zero, and should be
// random or a digest of what makes the call this call. An enqueue that was
// absorbed by another job (Skipped, Replaced) leaves nothing behind, and a
// repeat of it is judged anew. A call that is repeated with [Resend] says the
// same token again.
func Token(token [16]byte) Option { return tokenOption(token) }

type tokenOption [16]byte

func (o tokenOption) apply(s *settings) { s.token, s.tokenAt = o, s.at }

// checkToken checks that a token comes with the ID that it belongs to.
func (s *settings) checkToken() error {
	switch {
	case s.tokenAt == unsaid:
		return nil
	case s.tokenAt < ofCall:
		return invalid("Token", "", "is {said %s}, where every job would share it: say it at the call", s.tokenAt)
	case s.token == [16]byte{}:
		return invalid("Token", "", "must not be zero: make it random, or a digest of the call")
	case s.idAt == unsaid:
		return invalid("Token", "", "says which call of an ID this is, and there is no {ID}: say {ID} too")
	}
	return nil
}

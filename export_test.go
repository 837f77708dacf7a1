package onceq

// Waiting is how many enqueues wait for a trip.
func Waiting(c *Client) int { return c.batch.Waiting() }

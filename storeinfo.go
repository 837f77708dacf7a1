package onceq

import "context"

// StoreInfo is what a store says of itself.
type StoreInfo struct {
	// Server is the product and its version, such as "PostgreSQL 15.18".
	Server string `json:"server"`
	// Schema says in which form the rows are, such as "step 13"; "" = there is
	// only one form.
	Schema string `json:"schema"`
	// Warnings say what puts the promises of the store at risk, and the way
	// out: one sentence or two each. They are as of now, and do not change what
	// the store does.
	Warnings []string `json:"warnings"`
}

// StoreInfo asks the store what it is and what puts its promises at risk:
// settings of the server, for instance, with which acknowledged jobs can be
// lost. A store that says nothing of itself gives the zero StoreInfo.
func (c *Client) StoreInfo(ctx context.Context) (StoreInfo, error) {
	if err := c.usable(ctx); err != nil {
		return StoreInfo{}, err
	}
	info := c.store.Traits().Info
	if info == nil {
		return StoreInfo{}, nil
	}
	return info(ctx)
}

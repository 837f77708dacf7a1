package onceq

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// usualPage is how many rows a page has unless its filter says otherwise, and
// mostPage how many it may have.
const (
	usualPage = 50
	mostPage  = 1000
)

// JobsPage returns one page of what [Client.Jobs] lists, for callers that show
// a page at a time. f.Limit is the size of the page: 0 = 50, at most 1000.
//
// The first page has the cursor "", and JobPage.Next is that of the next page;
// "" = there is none. A cursor goes with the filter that it was made for, and
// is refused with another.
//
// A page looks at no more than [MaxLook] jobs, for about [MaxLookTime]. Where
// few jobs match, it may therefore be short, or empty, and have a cursor to go
// on: JobPage.Looked says how many were looked at.
func (c *Client) JobsPage(ctx context.Context, f JobFilter, cursor string) (JobPage, error) {
	of := f.text()
	after, err := openCursor("jobs", of, cursor)
	if err := cmp.Or(c.usable(ctx), f.validate(), checkPage(f.Limit), err); err != nil {
		return JobPage{}, err
	}
	p, err := c.store.List(ctx, f.Request(after, cmp.Or(f.Limit, usualPage)))
	if err != nil {
		return JobPage{}, fmt.Errorf("onceq: list jobs: %w", err)
	}
	p.Jobs = slices.DeleteFunc(p.Jobs, f.hides)
	p.Next = makeCursor("jobs", of, p.Next)
	return p, nil
}

// KeysPage returns one page of what [Client.Keys] lists, as JobsPage does. On
// Redis, which keeps keys in no order, a page may lack keys that were taken in
// the last ten seconds (for the pages after the first: since the first).
func (c *Client) KeysPage(ctx context.Context, f KeyFilter, cursor string) (KeyPage, error) {
	of := fmt.Sprintf("%q %q %q %q %v %v", f.Queue, f.Kind, f.From, f.Text, f.Inert, f.Reserved)
	after, err := openCursor("keys", of, cursor)
	if err := cmp.Or(c.usable(ctx), f.validate(), checkPage(f.Limit), err); err != nil {
		return KeyPage{}, err
	}
	r := f.Request(after, cmp.Or(f.Limit, usualPage))
	r.Late = true
	p, err := c.store.Keys(ctx, r)
	if err != nil {
		return KeyPage{}, fmt.Errorf("onceq: list keys: %w", err)
	}
	for _, k := range p.Keys {
		k.adjust()
	}
	p.Keys = slices.DeleteFunc(p.Keys, f.hides)
	p.Next = makeCursor("keys", of, p.Next)
	return p, nil
}

// text is the filter, as cursors are tied to it.
func (f *JobFilter) text() string {
	return fmt.Sprintf("%q %q %q %v %q %q %d %d %v", slices.Sorted(slices.Values(f.States)), f.Queue, f.Kind, f.Key,
		f.Tag, f.Worker, f.After.UnixNano(), f.Before.UnixNano(), f.Reserved)
}

func checkPage(limit int) error {
	if limit > mostPage {
		return invalid("limit", limit, "must be at most %d for a page: go on with its cursor", mostPage)
	}
	return nil
}

// sealSize is how many bytes of the digest of its filter a cursor begins with.
const sealSize = 6

func seal(list, filter string) []byte {
	sum := sha256.Sum256([]byte(list + " " + filter))
	return sum[:sealSize]
}

// makeCursor makes the cursor that callers get: it is tied to the filter, and
// can stand in a URL.
func makeCursor(list, filter, next string) string {
	if next == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(seal(list, filter), next...))
}

// openCursor is makeCursor undone.
func openCursor(list, filter, cursor string) (next string, err error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) <= sealSize || checkID(string(raw[sealSize:])) != nil {
		return "", invalid("cursor", cursor, "must be that of the page before, as it was given")
	}
	if string(raw[:sealSize]) != string(seal(list, filter)) {
		return "", invalid("cursor", cursor, "is of a list with another filter: begin without a cursor, or repeat "+
			"the filter")
	}
	return string(raw[sealSize:]), nil
}

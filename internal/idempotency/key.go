// Package idempotency reads the header Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header).
package idempotency

import (
	"net/http"
	"strings"
)

// Header is its name.
const Header = "Idempotency-Key"

// Key returns the key: a string of RFC 9651 without its quotes, or a bare
// text. times is how often the header is there.
func Key(h http.Header) (key string, times int) {
	all := h.Values(Header)
	if len(all) == 0 {
		return "", 0
	}
	key = strings.TrimSpace(all[0])
	if quoted, ok := strings.CutPrefix(key, `"`); ok && strings.HasSuffix(quoted, `"`) {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(quoted, `"`))
	}
	return key, len(all)
}

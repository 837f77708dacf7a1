package test

import "testing"

// The guides have wide tables, and long lines in blocks.
func TestTheGuidesAreAccessibleAndFit(t *testing.T) {
	w := newPageWorld(t)
	b := newTab(t, w.url)
	for name, path := range map[string]string{"guides": "help", "guide-http": "help/http",
		"guide-stores": "help/stores", "guide-json": "help/json"} {
		b.look(name, path)
	}
}

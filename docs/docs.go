// Package docs has the guides of this folder, for onceq docs.
package docs

import "embed"

// Pages are the guides, as Markdown. README.md lists them.
//
//go:embed *.md
var Pages embed.FS

// Package docs has the guides of this folder, for onceq docs.
package docs

import "embed"

// Pages are the guides, as Markdown, and the pictures in them. README.md lists
// them.
//
//go:embed *.md pictures/speed.svg
var Pages embed.FS

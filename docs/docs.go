// Package docs has the guides of this folder, for onceq docs and the pages.
package docs

import "embed"

// Pages are the guides, as Markdown. README.md lists them.
//
//go:embed *.md
var Pages embed.FS

// Pictures are those in the guides.
//
//go:embed pictures/speed.svg
var Pictures embed.FS

package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// man is the manual page of all commands, in the language of man(7). It is made
// of what --help says, so that the two cannot differ.
func man(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".TH ONCEQ 1\n.SH NAME\nonceq \\- background jobs that are there once\n.SH SYNOPSIS\n" +
		".B onceq\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n" + roff(root.Long) +
		"\n.SH FLAGS OF EVERY COMMAND\n" + manFlags(root.PersistentFlags()) + ".SH COMMANDS\n")
	for _, c := range everyCommand(root)[1:] {
		if c.Hidden {
			continue
		}
		b.WriteString(".SS " + roff(c.UseLine()) + "\n")
		if !c.HasAvailableSubCommands() || c.Long != "" {
			text := c.Long
			if text == "" {
				text = c.Short + "."
			}
			b.WriteString(roff(text) + "\n")
		} else {
			b.WriteString(roff(c.Short+".") + "\n")
		}
		b.WriteString(manFlags(c.NonInheritedFlags()))
		if c.Example != "" {
			b.WriteString(".PP\n.nf\n.RS 4\n" + roff(c.Example) + "\n.RE\n.fi\n")
		}
	}
	return b.String() + `.SH EXIT CODES
0: done. 1: failed. 2: wrong usage. 3: a duplicate, where --on-conflict reject was said.
.SH ENVIRONMENT
ONCEQ_STORE: the store, where --store is not said. NO_COLOR: print no colours.
.SH SEE ALSO
onceq docs
`
}

func manFlags(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		b.WriteString(".TP\n.B " + roff(name) + " " + roff(value) + "\n" + roff(usage) + "\n")
	})
	return b.String()
}

var emptyLines = regexp.MustCompile(`\n{2,}`)

// roff is a text in the language of man(7): nothing of it is taken for a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(strings.TrimSpace(text))
	var lines []string
	for line := range strings.SplitSeq(emptyLines.ReplaceAllString(text, "\n\n"), "\n") {
		switch {
		case line == "":
			line = ".PP"
		case strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'"):
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

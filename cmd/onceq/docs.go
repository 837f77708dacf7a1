package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq/docs"
	"github.com/onceq/onceq/internal/nearest"
)

func newDocs(a *app) *cobra.Command {
	search, manual := "", false
	c := &cobra.Command{
		Use:   "docs [NAME]",
		Short: "Read the guides here, without a network",
		Long: `Read the guides of this version here, without a network: without a name they
are listed, with one the guide is printed, as wide as the terminal. For a pager
say onceq docs NAME | less.`,
		Example: "  onceq docs\n  onceq docs retries | less\n  onceq docs --search heartbeat",
		Args:    nArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case manual && (len(args) > 0 || search != ""):
				return usagef("--man prints the manual page of all commands: leave the rest away")
			case manual:
				a.printf("%s", man(c.Root()))
				return nil
			case search != "" && len(args) > 0:
				return usagef("--search looks in all guides: leave %q away", args[0])
			case search != "":
				return a.searchGuides(search)
			case len(args) > 0:
				return a.showGuide(args[0])
			}
			a.listGuides()
			return nil
		},
	}
	c.Flags().StringVar(&search, "search", "", "print the lines of all guides that contain this, with their guide")
	c.Flags().BoolVar(&manual, "man", false, "print the manual page of all commands: onceq docs --man >onceq.1")
	c.ValidArgsFunction = firstOnly(func(_ *cobra.Command, _ []string, begun string) ([]string,
		cobra.ShellCompDirective) {
		var names []string
		for _, g := range guides() {
			if strings.HasPrefix(g.name, begun) {
				names = append(names, g.name+"\t"+g.title)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// guide is a page of docs.
type guide struct {
	group string // the heading in the list: "To use it"
	name  string // of the file, without .md
	title string // its first line
	text  string // Markdown
}

var (
	groupLine = regexp.MustCompile(`^\*\*(.*)\*\*$`)
	pageLink  = regexp.MustCompile(`\]\(([\w-]+)\.md\)`)
)

// guides are all guides, in the order of their list.
func guides() (all []guide) {
	list, group := page("README.md"), "To begin with"
	for line := range strings.Lines(list) {
		if m := groupLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			group = m[1]
		}
		for _, m := range pageLink.FindAllStringSubmatch(line, -1) {
			text := page(m[1] + ".md")
			first, _, _ := strings.Cut(text, "\n")
			all = append(all, guide{group, m[1], strings.TrimPrefix(first, "# "), text})
		}
	}
	return all
}

// page is a file of docs; "" = there is none.
func page(name string) string {
	b, _ := docs.Pages.ReadFile(name)
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

func (a *app) listGuides() {
	group := ""
	for _, g := range guides() {
		if g.group != group {
			group = g.group
			a.printf("%s\n", a.paint(bold, group+":"))
		}
		a.printf("  %-17s %s\n", g.name, g.title)
	}
	a.printf("\nonceq docs NAME prints one; onceq docs --search WORD looks in all of them\n")
}

func (a *app) showGuide(name string) error {
	all := guides()
	name = strings.TrimSuffix(path.Base(name), ".md")
	i := slices.IndexFunc(all, func(g guide) bool { return strings.EqualFold(g.name, name) })
	if i < 0 {
		var names []string
		for _, g := range all {
			names = append(names, g.name)
		}
		if near := nearest.Name(name, names); near != "" {
			return usagef("there is no guide %q: did you mean onceq docs %s?", name, near)
		}
		return usagef("there is no guide %q: onceq docs lists all, and onceq docs --search %s looks in them", name,
			clean(name))
	}
	a.printf("%s", a.rendered(all[i].text, a.textWidth()))
	return nil
}

// textWidth is how wide a guide is printed.
func (a *app) textWidth() int {
	if w := a.width(); w > 0 {
		return max(min(w, 100), 20)
	}
	return 80
}

// searchGuides prints the lines that have the words, as they would be shown.
func (a *app) searchGuides(words string) error {
	found := 0
	for _, g := range guides() {
		plain := *a
		plain.colours = false
		for line := range strings.Lines(plain.rendered(g.text, 1<<20)) {
			line = strings.Join(strings.Fields(line), " ")
			if !strings.Contains(strings.ToLower(line), strings.ToLower(words)) {
				continue
			}
			found++
			name := fmt.Sprintf("%-17s ", g.name)
			if w := a.width(); w > 0 {
				line = around(line, words, max(w-len(name), 20))
			}
			a.printf("%s%s\n", a.paint(cyan, name), line)
		}
	}
	if found == 0 {
		return fmt.Errorf("no guide has %q", words)
	}
	return nil
}

// around is the part of a line that has the words, at most so wide.
func around(line, words string, width int) string {
	r := []rune(line)
	if len(r) <= width {
		return line
	}
	at := len([]rune(line[:max(strings.Index(strings.ToLower(line), strings.ToLower(words)), 0)]))
	if at+len([]rune(words)) < width {
		return cut(line, width)
	}
	return "…" + cut(string(r[min(at, len(r)-1):]), width-1)
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

// completions tells the shell what can be where. The command that prints
// the scripts (onceq completion bash, zsh, fish, powershell) is cobra's
// own.
func completions(root *cobra.Command, a *app) {
	root.SetCompletionCommandGroupID("else")
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			group(c, "bash|zsh|fish|powershell", "")
			c.Short = "Print what teaches a shell to complete onceq's commands"
		}
	}
	var states []string
	for _, s := range onceq.States() {
		states = append(states, string(s))
	}
	words := map[string][]string{
		"state":       states,
		"until":       {"due", "started", "finished", "succeeded", "failed", "deleted", "window-ends"},
		"on-conflict": {"skip", "reject", "coalesce", "supersede", "replace:", "debounce:"},
		"by":          {"kind", "queue", "args", "meta"},
		"key-scope":   {"kind", "queue", "kind,queue", "key"},
	}
	for _, c := range everyCommand(root) {
		for flag, list := range words {
			if c.Flags().Lookup(flag) != nil {
				_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list,
					cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
			}
		}
		if c.Flags().Lookup("queue") != nil {
			_ = c.RegisterFlagCompletionFunc("queue", a.completeQueues)
		}
		if p := c.Parent(); p != nil && c.ValidArgsFunction == nil {
			switch p.Name() {
			case "queue":
				c.ValidArgsFunction = a.completeQueues
			default:
				c.ValidArgsFunction = cobra.NoFileCompletions
			}
		}
	}
}

func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, s := range c.Commands() {
		all = append(all, everyCommand(s)...)
	}
	return all
}

func (a *app) completeQueues(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if missing, err := storeurl.Creates(a.store); err != nil || missing != "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_ = a.with(c.Context(), func(client *onceq.Client) error {
		queues, err := client.Queues(c.Context())
		for _, q := range queues {
			names = append(names, q.Name)
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

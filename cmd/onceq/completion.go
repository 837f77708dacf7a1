package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
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
		"on-conflict": terms.PolicyWords,
		"by":          {"kind", "queue", "args", "meta"},
		"key-scope":   {"kind", "queue", "kind,queue", "key"},
	}
	lookedUp := map[string]cobra.CompletionFunc{"queue": a.complete(queueNames), "queues": a.complete(queueNames),
		"kind": a.complete(kinds), "kinds": a.complete(kinds), "tag": a.complete(tags), "worker": a.complete(workers),
		"prefix": a.complete(keys)}
	arguments := map[string]cobra.CompletionFunc{"queue": lookedUp["queue"], "job": a.complete(jobIDs),
		"key": a.complete(keys)}
	for _, c := range everyCommand(root) {
		for flag, list := range words {
			if c.Flags().Lookup(flag) != nil && !(flag == "key" && c.Name() == "enqueue") {
				_ = c.RegisterFlagCompletionFunc(flag, oneOf(list))
			}
		}
		for flag, look := range lookedUp {
			if c.Flags().Lookup(flag) != nil {
				_ = c.RegisterFlagCompletionFunc(flag, look)
			}
		}
		if p := c.Parent(); p != nil && c.ValidArgsFunction == nil {
			c.ValidArgsFunction = cobra.NoFileCompletions
			if look := arguments[p.Name()]; look != nil {
				c.ValidArgsFunction = firstOnly(look)
			}
		}
	}
}

// oneOf completes one of some words, or a list of them. A word that ends in a
// colon goes on.
func oneOf(words []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		said, last := "", begun
		if i := strings.LastIndexByte(begun, ','); i >= 0 {
			said, last = begun[:i+1], begun[i+1:]
		}
		var fit []string
		for _, w := range words {
			if strings.HasPrefix(w, last) {
				fit = append(fit, said+w)
			}
		}
		if len(fit) == 1 && strings.HasSuffix(fit[0], ":") {
			return fit, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

// firstOnly completes the first argument, and no other.
func firstOnly(look cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, said []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(said) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return look(c, said, begun)
	}
}

// complete makes a completion of what is in the store. It makes no store, and
// says nothing of a store that does not answer within two seconds.
func (a *app) complete(look func(context.Context, *onceq.Client) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if missing, err := storeurl.Creates(a.store); err != nil || missing != "" {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
		defer cancel()
		var all []string
		_ = a.with(ctx, func(client *onceq.Client) (err error) {
			all, err = look(ctx, client)
			return err
		})
		return slices.DeleteFunc(all, func(w string) bool { return !strings.HasPrefix(w, begun) }), none
	}
}

// shownJobs is how many jobs and keys a completion looks at.
const shownJobs = 200

func queueNames(ctx context.Context, client *onceq.Client) ([]string, error) {
	queues, err := client.Queues(ctx)
	return namesOf(queues), err
}

func workers(ctx context.Context, client *onceq.Client) (names []string, err error) {
	all, err := client.Workers(ctx)
	for _, w := range all {
		names = append(names, w.Name)
	}
	return names, err
}

func jobIDs(ctx context.Context, client *onceq.Client) ([]string, error) {
	return ofJobs(ctx, client, func(j *onceq.JobRow) []string {
		return []string{j.ID + "\t" + clean(j.Kind) + ", " + string(j.State)}
	})
}

func kinds(ctx context.Context, client *onceq.Client) ([]string, error) {
	return ofJobs(ctx, client, func(j *onceq.JobRow) []string { return []string{j.Kind} })
}

func tags(ctx context.Context, client *onceq.Client) ([]string, error) {
	return ofJobs(ctx, client, func(j *onceq.JobRow) []string { return j.Tags })
}

// ofJobs collects what the first jobs of a list say, each once.
func ofJobs(ctx context.Context, client *onceq.Client, say func(*onceq.JobRow) []string) (all []string, err error) {
	for j, err := range client.Jobs(ctx, onceq.JobFilter{Limit: shownJobs}) {
		if err != nil {
			return nil, err
		}
		for _, w := range say(j) {
			if w == clean(w) || strings.Contains(w, "\t") {
				all = append(all, w)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func keys(ctx context.Context, client *onceq.Client) (all []string, err error) {
	for k, err := range client.Keys(ctx, onceq.KeyFilter{Limit: shownJobs}) {
		if err != nil {
			return nil, err
		}
		all = append(all, k.Key.String()[:keyDigits]+"\t"+clean(k.Text))
	}
	return all, nil
}

func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, s := range c.Commands() {
		all = append(all, everyCommand(s)...)
	}
	return all
}

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
)

func newKeys(a *app) *cobra.Command {
	var f onceq.KeyFilter
	c := &cobra.Command{
		Use:   "keys",
		Short: "List the keys that are held, by whom, and when they free; release many",
		Long: `List the keys that are held: the first digits of each (onceq key takes them),
the job that holds it, since when, on what or when it frees, who stands behind
the holder, and what the key is made of. A list for people shows 50 unless
--limit says otherwise; --json lists all.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return a.with(c.Context(), func(client *onceq.Client) error { return a.listKeys(c, client, f) })
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	keyFlags(fs, &f)
	fs.IntVar(&f.Limit, "limit", 0, "at most `N` keys; 0 is all (default 50, with --json all)")
	c.AddCommand(newKeysRelease(a))
	return c
}

// keyFlags adds the flags that choose keys.
func keyFlags(fs *pflag.FlagSet, f *onceq.KeyFilter) {
	fs.StringVar(&f.Queue, "queue", "", "only where the holder is of this queue `NAME`")
	fs.StringVar(&f.Kind, "kind", "", "only where the holder is of this `KIND`")
	fs.StringVar(&f.From, "prefix", "", "only keys that begin with these hexadecimal `DIGITS`")
	fs.StringVar(&f.Text, "text", "", "only keys whose parts contain this `TEXT`")
}

// checkKeyFilter checks what the flags of keyFlags say.
func checkKeyFilter(f onceq.KeyFilter) error {
	if f.Limit < 0 {
		return usagef("--limit %d: must be 0 (all) or more", f.Limit)
	}
	if strings.Trim(strings.ToLower(f.From), "0123456789abcdef") != "" || len(f.From) > 64 {
		return usagef("--prefix %q: must be the first hexadecimal digits of a key, at most 64", f.From)
	}
	return nil
}

// keyDigits is how many digits of a key a list shows.
const keyDigits = 12

func (a *app) listKeys(c *cobra.Command, client *onceq.Client, f onceq.KeyFilter) error {
	if err := checkKeyFilter(f); err != nil {
		return err
	}
	paged := !a.json && !c.Flags().Changed("limit")
	if paged {
		f.Limit = pageSize + 1
	}
	now := time.Now()
	var rows [][]cell
	some := false
	for k, err := range client.Keys(c.Context(), f) {
		switch {
		case err != nil:
			return err
		case a.json:
			if err := a.printJSON(k); err != nil {
				return err
			}
			continue
		}
		if len(rows) == pageSize && paged {
			defer fmt.Fprintf(a.errOut, "the first %d; --limit 0 lists all\n", pageSize)
			break
		}
		rows = append(rows, []cell{{text: k.Key.String()[:keyDigits]}, text(k.Holder), holderState(k),
			text(away(k.Since, now)), text(frees(k, now)),
			text(k.Waiter), text(k.Text)})
		if len(rows) == 1000 {
			a.table(keyColumns, rows, "SINCE", "STATE", "WAITER")
			rows, some = rows[:0], true
		}
	}
	switch {
	case a.json:
	case len(rows) > 0:
		a.table(keyColumns, rows, "SINCE", "STATE", "WAITER")
	case !some:
		a.printf("no keys are held%s\n", map[bool]string{true: " that match"}[f.Queue+f.Kind+f.From+f.Text != ""])
	}
	return nil
}

var keyColumns = []string{"KEY", "HOLDER", "STATE", "SINCE", "FREES", "WAITER", "PARTS"}

// holderState is the state of the holder of a key; a holder that is gone
// has none.
func holderState(k *onceq.HeldKey) cell {
	if k.Gone {
		return cell{text: "gone", style: dim}
	}
	if word := claimWords[k.State]; word != "" && strings.HasPrefix(k.Queue, guardPrefix) {
		return cell{text: word, style: stateStyle(k.State)}
	}
	return state(k.State)
}

// frees says briefly when, or on what event, a key becomes free.
func frees(k *onceq.HeldKey, now time.Time) string {
	var parts []string
	if k.FreesWhen != "" {
		parts = append(parts, "when "+k.FreesWhen)
	}
	if !k.FreesAt.IsZero() {
		parts = append(parts, away(k.FreesAt, now))
	}
	if len(parts) == 0 {
		return "by hand"
	}
	return strings.Join(parts, " or ")
}

// findKey finds the key with these 64 hexadecimal digits, or the one held
// key that begins with these 8 or more.
func findKey(ctx context.Context, client *onceq.Client, digits string) (onceq.Key, error) {
	digits = strings.ToLower(digits)
	if _, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2)); err != nil || len(digits) < 8 ||
		len(digits) > 64 {
		return onceq.Key{}, usagef("key %q must be 64 hexadecimal digits, or at least the first 8 that onceq keys "+
			"shows", cut(digits, 70))
	}
	if len(digits) == 64 {
		return onceq.ParseKey(digits)
	}
	var found []onceq.Key
	for k, err := range client.Keys(ctx, onceq.KeyFilter{From: digits}) {
		if err != nil {
			return onceq.Key{}, err
		}
		found = append(found, k.Key)
	}
	switch len(found) {
	case 0:
		return onceq.Key{}, fmt.Errorf("no held key begins with %s: onceq keys lists those that are", digits)
	case 1:
		return found[0], nil
	}
	return onceq.Key{}, fmt.Errorf("%d held keys begin with %s: say more digits", len(found), digits)
}

func newKey(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "key",
		Short: "Show who holds a key, or release it",
	}, "show|release", "KEY")
	c.AddCommand(&cobra.Command{
		Use:   "show KEY",
		Short: "Show who holds a key, who stands behind, and when it frees",
		Args:  nArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				key, err := findKey(c.Context(), client, args[0])
				if err != nil {
					return err
				}
				k, err := client.Key(c.Context(), key)
				switch {
				case errors.Is(err, onceq.ErrNotFound):
					return fmt.Errorf("key %s is free: nobody holds it", key)
				case err != nil:
					return err
				case a.json:
					return a.printJSON(k)
				}
				a.facts(a.keyFacts(k, time.Now()))
				return nil
			})
		},
	}, &cobra.Command{
		Use:   "release KEY",
		Short: "Release a key by hand: its holder goes on without it",
		Long: `Release a key by hand, so that the next enqueue of it makes a job. The job
that holds it goes on, without the key. Where a waiter stands behind that job,
the key is the waiter's then.`,
		Args: nArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				key, err := findKey(c.Context(), client, args[0])
				if err != nil {
					return err
				}
				k, err := client.Key(c.Context(), key)
				if err == nil {
					err = client.ReleaseKey(c.Context(), key, onceq.Holder(k.Holder))
				}
				switch {
				case errors.Is(err, onceq.ErrNotFound):
					return fmt.Errorf("key %s is free already", key)
				case err != nil:
					return err
				case a.json:
					return a.printJSON(wire.Released{Key: key, Was: k.Holder, Now: orNull(k.Waiter)})
				case k.Waiter != "":
					a.printf("key %s was job %s's and is job %s's now, which stood behind it\n", key, clean(k.Holder),
						clean(k.Waiter))
				default:
					a.printf("key %s is free: job %s (%s) held it\n", key, clean(k.Holder), holderState(k).text)
				}
				return nil
			})
		},
	})
	return c
}

// orNull is a text, or null where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *app) keyFacts(k *onceq.HeldKey, now time.Time) [][2]string {
	st := holderState(k)
	gone := ""
	if k.Gone {
		gone = ": the job is no longer kept"
	}
	facts := [][2]string{
		{"key", a.paint(bold, k.Key.String())},
		{"parts", clean(k.Text)},
		{"holder", clean(fmt.Sprintf("job %s, kind %s, queue %s", k.Holder, k.Kind, k.Queue))},
		{"state", a.paint(st.style, st.text) + gone},
		{"since", moment(k.Since, now)},
		{"frees", strings.TrimPrefix(k.FreesText(), "frees ")},
	}
	if !k.FreesAt.IsZero() {
		facts[len(facts)-1][1] += " (" + away(k.FreesAt, now) + ")"
	}
	if k.Waiter != "" {
		facts = append(facts, [2]string{"waiter",
			clean("job " + k.Waiter + " stands behind the holder: the key passes to it, and is never free in between")})
	}
	return facts
}

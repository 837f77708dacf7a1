package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // so that a host without time zones has them

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
	"github.com/onceq/onceq/internal/wire"
)

func newPeriodic(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "periodic",
		Short: "Enqueue jobs on a schedule: list, add, pause and try schedules",
		Long: `Schedules enqueue a job at each of their ticks, once in the whole fleet. Every
onceq work serves them, and so does every program whose worker is told to
(WorkerConfig.ServePeriodic).

A schedule is five fields (minute, hour, day of month, month, day of week),
one of @hourly, @daily, @weekly, @monthly and @yearly, or "@every 90s".`,
		Example: `  onceq periodic add nightly-report '30 2 * * *' report '{"of":"yesterday"}' --zone Europe/Berlin
  onceq periodic next '30 2 * * *' --zone Europe/Berlin
  onceq periodic list`,
	}, "list|show|add|remove|pause|resume|run|next", "NAME")
	c.AddCommand(periodicList(a), periodicShow(a), periodicAdd(a), periodicNext(a))
	for _, s := range []struct {
		verb, short, done string
		change            func(c *onceq.Client, ctx context.Context, name string) error
	}{
		{"remove", "Remove a schedule; the jobs that it made stay", "is removed", (*onceq.Client).RemovePeriodic},
		{"pause", "Make no more jobs of a schedule until it is resumed", "is paused", (*onceq.Client).PausePeriodic},
		{"resume", "Let a paused schedule go on with its next tick", "goes on", (*onceq.Client).ResumePeriodic},
	} {
		c.AddCommand(&cobra.Command{
			Use:   s.verb + " NAME",
			Short: s.short,
			Args:  nArgs(1, 1),
			RunE: func(c *cobra.Command, args []string) error {
				return a.with(c.Context(), func(client *onceq.Client) error {
					before, err := findSchedule(c.Context(), client, args[0])
					if err == nil {
						err = s.change(client, c.Context(), args[0])
					}
					if err != nil {
						return usage(err)
					}
					if a.json {
						if now, err := findSchedule(c.Context(), client, args[0]); err == nil {
							before = now
						}
						return a.printJSON(before)
					}
					a.printf("schedule %s %s\n", clean(args[0]), s.done)
					if s.verb == "remove" && before.Source == "code" {
						a.printf("it is in the code of a program, and comes back when a worker of that program " +
							"starts\n")
					}
					return nil
				})
			},
		})
	}
	c.AddCommand(&cobra.Command{
		Use:   "run NAME",
		Short: "Enqueue the job of a schedule now, besides its ticks",
		Args:  nArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				receipt, err := client.TickNow(c.Context(), args[0])
				switch {
				case errors.Is(err, onceq.ErrNotFound):
					return noSchedule(args[0])
				case receipt.Job == nil:
					return usage(err)
				case a.json:
					return errors.Join(a.printJSON(receipt), err)
				case err == nil:
					a.printReceipt(receipt)
				}
				return err
			})
		},
	})
	return c
}

func noSchedule(name string) error {
	return fmt.Errorf("there is no schedule %s: onceq periodic list shows those that are there", clean(name))
}

func findSchedule(ctx context.Context, client *onceq.Client, name string) (onceq.PeriodicInfo, error) {
	all, err := client.Periodics(ctx)
	if err != nil {
		return onceq.PeriodicInfo{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return onceq.PeriodicInfo{}, noSchedule(name)
}

func periodicList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List schedules: when their next tick is, and what became of the last",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				all, err := client.Periodics(c.Context())
				if err != nil {
					return err
				}
				if a.json {
					for _, p := range all {
						if err := a.printJSON(p); err != nil {
							return err
						}
					}
					return nil
				}
				if len(all) == 0 {
					a.printf("no schedules: onceq periodic add makes one\n")
					return nil
				}
				now := time.Now()
				var rows [][]cell
				for _, p := range all {
					next := "-"
					if !p.Next.IsZero() {
						next = away(p.Next, now)
					}
					rows = append(rows, []cell{text(p.Name), text(p.Schedule), text(p.Zone), text(p.Kind), text(next),
						text(lastTick(p, now)), text(condition(p))})
				}
				a.table([]string{"NAME", "SCHEDULE", "ZONE", "KIND", "NEXT", "LAST", ""}, rows)
				return nil
			})
		},
	}
}

func lastTick(p onceq.PeriodicInfo, now time.Time) string {
	switch {
	case p.LastTick.IsZero():
		return "-"
	case p.Last == nil:
		return away(p.LastTick, now)
	}
	return string(p.Last.State) + " " + away(p.LastTick, now)
}

// condition says why a schedule makes no jobs; "" = it makes them.
func condition(p onceq.PeriodicInfo) string {
	switch {
	case p.Paused:
		return "paused"
	case !p.Orphan.IsZero():
		return "no worker has it in its code"
	case p.Error != "":
		return "failing: " + p.Error
	}
	return ""
}

func periodicShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a schedule and its next five ticks",
		Args:  nArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				p, err := findSchedule(c.Context(), client, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(p)
				}
				a.facts(periodicFacts(p, time.Now()))
				return nil
			})
		},
	}
}

func periodicFacts(p onceq.PeriodicInfo, now time.Time) [][2]string {
	facts := [][2]string{{"name", clean(p.Name)}, {"schedule", clean(p.Schedule) + " in " + clean(p.Zone)},
		{"jobs", clean(p.Kind) + " in queue " + clean(p.Queue)}, {"source", clean(p.Source)},
		{"catch up", p.CatchUp.String()}}
	if p.Jitter > 0 {
		facts = append(facts, [2]string{"jitter", short(p.Jitter)})
	}
	if s := condition(p); s != "" {
		facts = append(facts, [2]string{"state", clean(s)})
	}
	if !p.LastTick.IsZero() {
		last := moment(p.LastTick, now) + ", its job was skipped or is no longer kept"
		if p.Last != nil {
			last = moment(p.LastTick, now) + ", job " + clean(p.Last.ID) + " " + string(p.Last.State)
		}
		facts = append(facts, [2]string{"last tick", last})
	}
	if loc, err := time.LoadLocation(p.Zone); err == nil && !p.Next.IsZero() {
		ticks, _ := onceq.NextTicks(p.Schedule, loc, p.Next.Add(-time.Second), 5)
		lines := ""
		for _, t := range ticks {
			lines += tickLine(t, now) + "\n"
		}
		facts = append(facts, [2]string{"next", lines[:max(0, len(lines)-1)]})
	}
	return facts
}

// tickLine is a tick by the clock of its time zone.
func tickLine(t, now time.Time) string {
	return t.Format("Mon 2006-01-02 15:04:05 -07:00") + " (" + away(t, now) + ")"
}

// when has the flags of a schedule.
type when struct {
	zone    string
	catchUp string
	jitter  time.Duration
}

func (w *when) zoneFlag(fs *pflag.FlagSet) {
	fs.StringVar(&w.zone, "zone", "UTC", "the time `ZONE` of the schedule, such as Europe/Berlin")
}

func (w *when) location() (*time.Location, error) {
	loc, err := time.LoadLocation(w.zone)
	if err != nil || w.zone == "" || w.zone == "Local" {
		return nil, usagef("--zone %q: must be the name of a time zone, such as Europe/Berlin", w.zone)
	}
	return loc, nil
}

func periodicAdd(a *app) *cobra.Command {
	var w when
	var e enqueue
	c := &cobra.Command{
		Use:   "add NAME SCHEDULE KIND [ARGS|-]",
		Short: "Add a schedule, or change the one of that name",
		Long: `Add a schedule, or change the one of that name: at each tick a job of KIND with
ARGS is enqueued, with the flags of onceq enqueue. --unique skips a tick while
the job of an earlier one is not finished.`,
		Args: nArgs(3, 4),
		RunE: func(c *cobra.Command, args []string) error {
			return a.addPeriodic(c.Context(), &w, &e, args)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	w.zoneFlag(fs)
	fs.StringVar(&w.catchUp, "catch-up", "latest", "what becomes of ticks that were missed while no worker ran: "+
		"`latest|all|none`")
	fs.Var(&span{&w.jitter}, "jitter", "let each job wait up to this long, always the same for a tick (default none)")
	e.register(fs)
	for _, refused := range []string{"id", "delay", "at"} { // the tick decides: with a reason, and not in the list
		_ = fs.MarkHidden(refused)
	}
	return c
}

func (a *app) addPeriodic(ctx context.Context, w *when, e *enqueue, args []string) (err error) {
	loc, err := w.location()
	if err != nil {
		return err
	}
	opts, err := e.Options(terms.AsFlag)
	if err != nil {
		return usage(err)
	}
	job, err := e.args(a, args[2:])
	if err != nil {
		return err
	}
	p := onceq.Periodic{Name: args[0], Schedule: args[1], Location: loc, Args: job, Options: opts, Jitter: w.jitter}
	if err := p.CatchUp.UnmarshalText([]byte(w.catchUp)); err != nil {
		return usagef("--catch-up %q: must be latest, all or none", w.catchUp)
	}
	config := &onceq.Config{MaxArgs: e.maxArgs}
	_, err = onceq.NextTicks(p.Schedule, loc, time.Now(), 1)
	if err = errors.Join(err, judge(ctx, config, job, opts)); err != nil {
		return usage(err) // before a file is made
	}
	s, err := a.open(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	info, err := s.client.PutPeriodic(ctx, p)
	switch {
	case err != nil:
		return usage(err)
	case a.json:
		return a.printJSON(info)
	case info.Paused:
		a.printf("schedule %s is changed, and paused: onceq periodic resume %s lets it go on\n", clean(p.Name),
			clean(p.Name))
	default:
		a.printf("schedule %s: the next tick is %s\n", clean(p.Name), tickLine(info.Next, time.Now()))
	}
	return nil
}

func periodicNext(a *app) *cobra.Command {
	var w when
	n := 10
	c := &cobra.Command{
		Use:   "next SCHEDULE",
		Short: "Print the next ticks of a schedule, without a store",
		Args:  nArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			loc, err := w.location()
			if err != nil {
				return err
			}
			now := time.Now()
			ticks, err := onceq.NextTicks(args[0], loc, now, n)
			if err != nil {
				return usage(err)
			}
			for _, t := range ticks {
				if a.json {
					if err := a.printJSON(wire.TickAt(t)); err != nil {
						return err
					}
					continue
				}
				a.printf("%s\n", tickLine(t, now))
			}
			return nil
		},
	}
	w.zoneFlag(c.Flags())
	c.Flags().IntVarP(&n, "number", "n", n, "how many")
	return c
}

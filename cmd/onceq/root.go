package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/nearest"
	"github.com/onceq/onceq/storeurl"
)

// app is what all subcommands share.
type app struct {
	in      io.Reader
	out     io.Writer
	errOut  io.Writer
	store   string
	json    bool
	colours bool // standard output shows colours
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: out, errOut: errOut, colours: isTerminal(out) && os.Getenv("NO_COLOR") == "" &&
		os.Getenv("TERM") != "dumb"}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const defaultStore = "sqlite:onceq.db"

const welcome = `onceq: background jobs that are there once.

Three commands to begin with:

  onceq demo                                    see it work, in ten seconds
  onceq enqueue mail '{"to":"ann"}' --unique    make a job, unless it is there already
  onceq work --exec 'cat; echo' --drain         run what is waiting, a process each

All commands: onceq --help. One command: onceq enqueue --help.
`

func newRoot(a *app) *cobra.Command {
	showVersion := false
	root := &cobra.Command{
		Use:   "onceq",
		Short: "Background jobs that are there once",
		Long: "onceq keeps background jobs in a store (a SQLite file, PostgreSQL or Redis) and makes sure " +
			"that a job which is enqueued twice is there once.",
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return unknownCommand(c, args[0])
			case showVersion:
				return a.version()
			}
			fmt.Fprint(a.out, welcome)
			return nil
		},
	}
	root.Flags().BoolVar(&showVersion, "version", false, "the same as onceq version")
	store := os.Getenv("ONCEQ_STORE")
	if store == "" {
		store = defaultStore
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.store, "store", store, "the store: sqlite:PATH, postgres://… or redis://… (or set ONCEQ_STORE)")
	if flag := flags.Lookup("store"); store != defaultStore {
		flag.DefValue = "$ONCEQ_STORE" // not its value, which may have a password
	}
	flags.BoolVar(&a.json, "json", false, "print JSON; one object a line for lists")
	flags.SortFlags = false
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: "jobs", Title: "Jobs:"},
		&cobra.Group{ID: "look", Title: "Looking in and stepping in:"},
		&cobra.Group{ID: "else", Title: "The command itself:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("jobs", newEnqueue(a), newExplain(a), newWork(a), newPeriodic(a), newOnce(a), newServe(a))
	add("look", newJobs(a), newJob(a), newKeys(a), newKey(a), newQueues(a), newQueue(a), newGuard(a), newWorkers(a),
		newStats(a), newDoctor(a))
	help := newHelp(root)
	root.SetHelpCommand(help)
	add("else", newMigrate(a), newCopy(a), newCompact(a), newDemo(a), newBench(a), newDocs(a), newVersion(a), help)
	root.AddCommand(newDemoPart(a), newBenchPart(a))
	completions(root, a)
	return root
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(_ *cobra.Command, args []string) error {
			c := root
			for _, name := range args {
				i := slices.IndexFunc(c.Commands(), func(s *cobra.Command) bool { return s.Name() == name })
				if i < 0 {
					return unknownCommand(c, name)
				}
				c = c.Commands()[i]
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// group makes a command that has only subcommands say so.
func group(c *cobra.Command, what, arg string) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("say what to do: %s %s %s", c.CommandPath(), what, arg)
		}
		err := unknownCommand(c, args[0])
		if !strings.Contains(err.Error(), "did you mean") {
			err = usagef("say what to do with it: %s %s %s", c.CommandPath(), what, clean(args[0]))
		}
		return err
	}
	return c
}

// otherWords are commands of other programs, and where the same is here.
var otherWords = map[string]string{"list": "onceq jobs", "ls": "onceq jobs", "status": "onceq queues",
	"add": "onceq enqueue", "push": "onceq enqueue", "worker": "onceq work",
	"start": "onceq work", "check": "onceq doctor", "why": "onceq explain"}

// elsewhere is where a command of this name is, if it is not where it was
// looked for; "" = nowhere.
func elsewhere(c *cobra.Command, name string) string {
	if word := otherWords[name]; word != "" && !c.HasParent() {
		return word
	}
	var found []string
	for _, s := range everyCommand(c.Root()) {
		if s.Name() == name && s.IsAvailableCommand() && s.Parent() != c && s.HasParent() && s.Parent().HasParent() &&
			s.Parent().Name() != "completion" && s.Parent().Name() != "migrate" {
			found = append(found, s.CommandPath())
		}
	}
	return strings.Join(found, " or ")
}

func unknownCommand(c *cobra.Command, name string) error {
	if there := elsewhere(c, name); there != "" {
		return usagef("unknown command %q: did you mean %s? (%s --help lists all)", name, there, c.CommandPath())
	}
	var names []string
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	if near := nearest.Name(name, names); near != "" {
		return usagef("unknown command %q: did you mean %s %s? (%s --help lists all)", name, c.CommandPath(), near,
			c.CommandPath())
	}
	return usagef("unknown command %q: %s --help lists all", name, c.CommandPath())
}

func flagError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if c.HasAvailableSubCommands() && c.Flags().NArg() > 0 {
		return unknownCommand(c, c.Flags().Arg(0))
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		hint := ""
		if what := missing(c, 0); what == "ID" || what == "NAME" || what == "KIND" {
			said := "--" + name
			if shorts := unknown.GetSpecifiedShortnames(); shorts != "" {
				said = "-" + shorts
			}
			hint = fmt.Sprintf("; what begins with - and is no flag stands behind --: %s -- %s",
				c.CommandPath(), clean(said))
		}
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := nearest.Name(name, names); near != "" {
			return usagef("unknown flag --%s: did you mean --%s? (%s --help lists all)", name, near, c.CommandPath())
		}
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		return usagef("unknown flag %s%s: %s --help lists all%s", dashes, name, c.CommandPath(), hint)
	}
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		return usagef("--%s %q: %v", value.GetFlag().Name, value.GetValue(), value.Unwrap())
	}
	return usagef("%v (%s --help)", err, c.CommandPath())
}

// connection is an open store and a client of it.
type connection struct {
	store  onceq.Store
	client *onceq.Client
}

func (s *connection) close() error { return errors.Join(s.client.Close(), s.store.Close()) }

// open opens the store, and makes it if it does not exist.
func (a *app) open(ctx context.Context, config *onceq.Config) (*connection, error) {
	made, err := storeurl.Creates(a.store)
	if err != nil {
		return nil, err
	}
	store, err := storeurl.Open(ctx, a.store)
	if err == nil && made != "" && isTerminal(a.errOut) {
		fmt.Fprintf(a.errOut, "made a new store: %s\n", clean(made))
	}
	return openConnection(store, err, config)
}

func openConnection(store onceq.Store, err error, config *onceq.Config) (*connection, error) {
	if err != nil {
		return nil, err
	}
	inner := store
	if config != nil && config.MeterProvider != nil {
		if store, err = onceq.MeasureStore(store, config.MeterProvider); err != nil {
			return nil, errors.Join(err, inner.Close())
		}
	}
	client, err := onceq.NewClient(store, config)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return &connection{store, client}, nil
}

// with opens a store that exists, and closes it after do.
func (a *app) with(ctx context.Context, do func(*onceq.Client) error) error {
	return a.withConnection(ctx, nil, func(s *connection) error { return do(s.client) })
}

// withConnection is with for a command that needs the store too, or a client that is not as usual.
func (a *app) withConnection(ctx context.Context, config *onceq.Config, do func(*connection) error) (err error) {
	path, err := storeurl.Creates(a.store)
	if err != nil {
		return err
	}
	if path != "" {
		return fmt.Errorf("there is no store at %s yet: onceq enqueue makes it, or name another with --store or "+
			"ONCEQ_STORE", path)
	}
	store, err := storeurl.OpenExisting(ctx, a.store)
	s, err := openConnection(store, err, config)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	return do(s)
}

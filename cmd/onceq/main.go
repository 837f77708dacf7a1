// Command onceq enqueues, runs and looks after unique jobs. See onceq
// --help; onceq demo shows all of it in ten seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

// The exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitDuplicate = 3
)

// prepareLogs gives what libraries log one form, that of a worker's lines.
func prepareLogs(errOut io.Writer) {
	logging.Disable() // lines of go-redis: the error says the same
	slog.SetDefault(slog.New(&logLines{out: errOut}))
}

func main() {
	prepareLogs(os.Stderr)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command as a function: it prints its error and returns the
// exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	a := newApp(in, out, errOut)
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(context.Background())
	code := exitCode(err)
	if line := errorLine(err); line != "" {
		fmt.Fprintf(errOut, "onceq: %s\n", line)
	}
	return code
}

// usageError is the error of a command line that has no meaning: exit code
// 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exit ends the command with a code after everything was said.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit %d", e.code) }

func exitCode(err error) int {
	var usage *usageError
	var done exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &done):
		return done.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, onceq.ErrDuplicate):
		return exitDuplicate
	}
	return exitFailed
}

// errorLine is the error in one line, in the words of the command; "" when
// there is nothing to say.
func errorLine(err error) string {
	var done exit
	if err == nil || errors.As(err, &done) {
		return ""
	}
	text := err.Error()
	var inv *onceq.InvalidError
	if errors.As(err, &inv) {
		text = strings.Replace(text, inv.Error(), inv.In(flagOf).Error(), 1)
	}
	return oneLine(text)
}

// oneLine makes one line of a text that came from elsewhere.
func oneLine(text string) string {
	text = strings.TrimPrefix(text, "onceq: ")
	return bounded(clean(strings.Join(strings.Fields(text), " ")))
}

// bounded cuts a long text in its middle: a message that repeats a long
// argument still says at its end what is wrong.
func bounded(text string) string {
	const most = 1000
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most/4]) + " … " + string(r[len(r)-most*3/4:])
}

// usage turns refused input into a usage error.
func usage(err error) error {
	var inv *onceq.InvalidError
	if errors.As(err, &inv) {
		return &usageError{errorLine(err)}
	}
	return err
}

// noArgs refuses arguments with a line that says what was meant.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, and got %q (%s --help)", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}

// nArgs wants between least and most arguments; most < 0 is any number.
func nArgs(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s is missing: %s", missing(c, len(args)), c.UseLine())
		case most >= 0 && len(args) > most:
			return usagef("%q is one argument too many: %s (quote an argument that has spaces)",
				args[most], c.UseLine())
		}
		return nil
	}
}

// missing is the name of the n-th argument in the command's use line.
func missing(c *cobra.Command, n int) string {
	fields := strings.Fields(c.Use)
	if n+1 < len(fields) {
		return strings.Trim(fields[n+1], "[]…")
	}
	return "an argument"
}

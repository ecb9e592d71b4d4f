// Command gardien is the resident's and installer's tool. It speaks the local API.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gardien/gateway/api"
)

const defaultSocket = "/run/gardien/api.sock"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// tool is what every command has.
type tool struct {
	*api.Client
	in     io.Reader
	out    io.Writer
	json   bool
	colour bool
	socket string
}

// errUsage marks errors of the command line: exit code 2.
var errUsage = errors.New("")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w"+format, append([]any{errUsage}, args...)...)
}

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	t := &tool{}
	if moved := idsLast(t.root(), args); moved != nil {
		if code, err := try(moved, in, out, errOut); code != 2 {
			return tell(errOut, code, err)
		}
	}
	code, err := try(args, in, out, errOut)
	return tell(errOut, code, err)
}

func tell(errOut io.Writer, code int, err error) int {
	if err != nil {
		fmt.Fprintln(errOut, "gardien:", err)
	}
	if code == 2 {
		fmt.Fprintln(errOut, `run "gardien --help" for how to use it`)
	}
	return code
}

// anID is what an id that others made may look like.
var anID = regexp.MustCompile(`^-[A-Za-z0-9._-]{1,63}$`)

// idsLast gives the arguments with those behind "--" that look like an id which begins with a
// hyphen, and are no flag of the command. nil: there are none.
func idsLast(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || slices.Contains(args, "--") {
		return nil
	}
	cmd.InheritedFlags() // makes cobra merge what the commands above have
	var moved, ids []string
	value := false // the argument is the value of the flag before it
	for _, arg := range args {
		name, _, set := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := cmd.Flag(name)
		isFlag := strings.HasPrefix(arg, "--") && (flag != nil || name == "help") || arg == "-h"
		switch {
		case !value && !isFlag && anID.MatchString(arg):
			ids = append(ids, arg)
			continue
		case !value && isFlag:
			value = !set && flag != nil && flag.NoOptDefVal == ""
		default:
			value = false
		}
		moved = append(moved, arg)
	}
	if len(ids) == 0 {
		return nil
	}
	return append(append(moved, "--"), ids...)
}

// try runs the command line; 2 says that it is wrong, and that nothing was done.
func try(args []string, in io.Reader, out, errOut io.Writer) (code int, err error) {
	t := &tool{in: in, out: out}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) {
		parsed = true
		t.Client = api.NewClient(t.socket)
		t.colour = !t.json && isTerminal(out)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = root.ExecuteContext(ctx)
	if t.Client != nil {
		t.Close()
	}
	switch {
	case err == nil:
		return 0, nil
	case !parsed || errors.Is(err, errUsage):
		return 2, err
	}
	return 1, err
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gardien",
		Short: "Let people in, see who came, and look after the gateway",
		Long: `gardien is the tool of residents and installers. It speaks to the daemon gardiend
over its Unix socket; root and members of group gardien may use it.`,
		Example: `  gardien grant add --door front --uses 1 --pin        one entry today, with a PIN
  gardien grant add --door front --days mon,thu --hours 09:00-12:30 --pin
  gardien unlock front
  gardien events --follow
  gardien grant explain ID --at "2026-11-28T21:40:00+01:00"
  gardien pause                                        no third party comes in`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("name a command") },
	}
	socket := os.Getenv("GARDIEN_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	root.PersistentFlags().StringVar(&t.socket, "socket", socket, "the daemon's socket; GARDIEN_SOCKET sets it, too")
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print JSON, for programs")
	root.AddCommand(t.statusCmd(), t.doorsCmd(), t.unlockCmd(), t.vetoCmd(), approveCmd(t), denyCmd(t), t.grantCmd(), visitsCmd(t), t.eventsCmd(), t.issuerCmd(), t.residentCmd(),
		pairing{t}.cmd(), caCmd(t), pauses{t}.pause(), pauses{t}.resume(), t.descriptorCmd(), t.enrolCmd(), t.backupCmd(), t.restoreCmd(), t.clockCmd(), t.doctorCmd(), readerCmd(t), receiptCmd(t), t.simCmd())
	return root
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("%s: name what to do (\"%s --help\" lists it)", cmd.CommandPath(), cmd.CommandPath())
		}}
	cmd.AddCommand(below...)
	return cmd
}

// print writes v as JSON, or lets people do it.
func (t *tool) print(v any, people func()) error {
	if !t.json {
		people()
		return nil
	}
	return json.NewEncoder(t.out).Encode(v)
}

// printLines writes a list as JSON Lines, or lets people do it.
func printLines[T any](t *tool, list []T, people func()) error {
	if !t.json {
		people()
		return nil
	}
	enc := json.NewEncoder(t.out)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// done answers a command that only does something.
func (t *tool) done(format string, args ...any) error {
	return t.print(map[string]bool{"ok": true}, func() { fmt.Fprintf(t.out, format+"\n", args...) })
}

func grantPath(id string) string { return "/v1/grants/" + url.PathEscape(id) }

func get[T any](cmd *cobra.Command, t *tool, path string) (v T, err error) {
	err = t.Do(cmd.Context(), "GET", path, nil, &v)
	return v, err
}

func post[T any](cmd *cobra.Command, t *tool, path string, in any) (v T, err error) {
	err = t.Do(cmd.Context(), "POST", path, in, &v)
	return v, err
}

func (t *tool) act(cmd *cobra.Command, method, path string, in any) error {
	done := api.Done{Durable: true}
	err := t.Do(cmd.Context(), method, path, in, &done)
	if err == nil && !done.Durable {
		noteUndurable(cmd)
	}
	return err
}

// noteUndurable says what the disk does to what was done (D5).
func noteUndurable(cmd *cobra.Command) {
	fmt.Fprintln(cmd.ErrOrStderr(), "note: the disk takes no writes: this acts now, and a power cut would undo it (gardien doctor)")
}

// Command gardien-issuer is what a carrier or a cloud runs: it makes keys, signs, sends and
// revokes grants, and watches what becomes of them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage marks errors of the command line: exit code 2.
var errUsage = errors.New("")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w"+format, append([]any{errUsage}, args...)...)
}

// tool is what every command has.
type tool struct {
	out, errOut io.Writer
	json        bool
}

func run(args []string, out, errOut io.Writer) int {
	t := &tool{out: out, errOut: errOut}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "gardien-issuer:", err)
	if !parsed || errors.Is(err, errUsage) {
		fmt.Fprintln(errOut, `run "gardien-issuer --help" for how to use it`)
		return 2
	}
	return 1
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gardien-issuer",
		Short: "Sign grants that Gardien gateways admit",
		Long: `gardien-issuer is a carrier's whole side. Its folder (--key DIR) holds the keys and what
was issued. Two ways lead to a gateway: the cloud (--gateway gw-…, after "enrol"), or a
document that somebody carries (--gateway FILE: the descriptor that "gardien descriptor"
prints). Integration, step by step: configs/carriers.md in the source.`,
		Example: `  gardien-issuer keygen --id colis-x.example --out keys
  gardien-issuer enrol --key keys --cloud https://cloud.example CODE
  gardien-issuer fleet --key keys
  gardien-issuer grant --key keys --gateway gw-a3r73d62fg --door front --uses 1 --pin --ref parcel-4711
  gardien-issuer revoke --key keys --gateway gw-a3r73d62fg --jti JTI
  gardien-issuer watch --key keys --json
  gardien-issuer manifest --key keys --every 6h`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("name a command") },
	}
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print JSON, for programs")
	root.AddCommand(t.keygenCmd(), t.enrolCmd(), t.fleetCmd(), t.grantCmd(), t.revokeCmd(), t.unlockCmd(), t.manifestCmd(), t.watchCmd(), t.rotateCmd(), t.resendCmd())
	return root
}

// print writes v as JSON, or lets people do it.
func (t *tool) print(v any, people func()) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(v)
	}
	people()
	return nil
}

// targetFlags are what every command has that speaks to one gateway.
func (t *tool) targetFlags(cmd *cobra.Command, key, gw *string) {
	cmd.Flags().StringVar(gw, "gateway", "", "the gateway's id, or the file of its descriptor")
	cmd.Flags().StringVar(key, "key", "", "the folder that keygen made")
}

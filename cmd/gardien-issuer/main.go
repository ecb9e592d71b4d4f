// Command gardien-issuer is what a carrier or a cloud runs: it makes keys, and signs
// and revokes grants.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage marks errors of the command line: exit code 2.
var errUsage = errors.New("")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w"+format, append([]any{errUsage}, args...)...)
}

func run(args []string, out, errOut io.Writer) int {
	var asJSON bool
	root := &cobra.Command{
		Use:   "gardien-issuer",
		Short: "Sign grants that Gardien gateways admit",
		Long: `gardien-issuer makes an issuer's keys and signs grants for one gateway at a time. What
it prints is handed to the gateway: by the cloud, by the courier's phone, or with
"gardien grant import". The gateway's descriptor comes from the cloud, or from
"gardien descriptor".`,
		Example: `  gardien-issuer keygen --id colis-x.example --out keys
  gardien-issuer grant --gateway gw.jws --key keys --door front --uses 1 --pin > grant.jwe
  gardien-issuer revoke --gateway gw.jws --key keys --jti JTI > revocation.jwe`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("name a command") },
	}
	root.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	root.AddCommand(keygenCmd(out, &asJSON), grantCmd(out, errOut, &asJSON), revokeCmd(out, &asJSON))
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	err := root.Execute()
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

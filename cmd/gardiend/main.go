// Command gardiend is the gateway's daemon.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gardien/cmd/gardiend/daemon"
	"gardien/cmd/gardiend/hardware"
	"gardien/configs"
	"gardien/systemd"
)

const defaultConfig = "/etc/gardien/gardien.yaml"

func main() { os.Exit(run(os.Args[1:], daemon.Options{})) }

// run is main without its exit; the stories' programs call it with a clock of theirs.
func run(args []string, o daemon.Options) int {
	cmd := command(o)
	cmd.SetArgs(args)
	usage := true
	cmd.PersistentPreRun = func(*cobra.Command, []string) { usage = false }
	err := cmd.Execute()
	if err == nil {
		return 0
	}
	out := systemd.NewLog(os.Stderr) // whoever does not read it keeps nobody from ending
	defer out.Close(logWithin)
	fmt.Fprintln(out, "gardiend:", err)
	if usage {
		fmt.Fprintln(out, `run "gardiend --help" for how to use it`)
		return 2
	}
	return 1
}

// logWithin is how long the end of the program waits for the reader of its log.
const logWithin = time.Second

func command(o daemon.Options) *cobra.Command {
	var check bool
	root := &cobra.Command{
		Use:   "gardiend",
		Short: "Gardien's daemon: decides who enters, releases the door, keeps the record",
		Long: `gardiend is the gateway's daemon. It reads one configuration file, secures every
strike, and then lets in who holds a grant. Under systemd it says READY=1 when the
doors can be used. SIGHUP reads the issuers and their keys again; SIGTERM secures
every strike and ends.`,
		Example: `  gardiend --config gardien.yaml --check     print everything wrong with the file
  gardiend --config gardien.yaml             run
  gardiend secure-all --config gardien.yaml  secure every strike, whatever the daemon does`,
		Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true, Version: daemon.Version(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return checkConfig(o.Config)
			}
			return serve(cmd.Context(), o)
		},
	}
	root.PersistentFlags().StringVar(&o.Config, "config", defaultConfig, "configuration file")
	root.Flags().BoolVar(&check, "check", false, "validate the file, print every error with its line, and take no line of any device")
	root.AddCommand(&cobra.Command{
		Use: "secure-all", Short: "Secure every strike and end; works while the daemon is dead or hung",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			say := systemd.NewLog(os.Stderr)
			defer say.Close(logWithin)
			n, err := hardware.SecureAll(cmd.Context(), o.Config, say)
			if err == nil {
				fmt.Printf("%d doors secured\n", n)
			}
			return err
		},
	})
	return root
}

func checkConfig(file string) error {
	cfg, err := configs.Load(file, daemon.LoadOpts)
	if problems, ok := err.(configs.Problems); ok {
		for _, p := range problems {
			fmt.Fprintln(os.Stderr, p)
		}
		return fmt.Errorf("%s: %d errors", file, len(problems))
	}
	if err != nil {
		return err
	}
	wrong, notes := hardware.Check(cfg)
	for _, p := range wrong {
		fmt.Fprintln(os.Stderr, p)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: %d errors", file, len(wrong))
	}
	for _, m := range append(hardware.Missing(cfg), notes...) {
		fmt.Fprintln(os.Stderr, "note:", m)
	}
	fmt.Printf("%s: ok: %d doors, %d readers, %d issuers\n", file, len(cfg.Doors), len(cfg.Readers), len(cfg.Issuers))
	return nil
}

func serve(ctx context.Context, o daemon.Options) error {
	var handler slog.HandlerOptions
	if systemd.UnderJournal() {
		handler.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	out := systemd.NewLog(os.Stderr)
	defer out.Close(logWithin)
	o.Log = slog.New(slog.NewTextHandler(out, &handler))
	slog.SetDefault(o.Log)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	o.Reload = reload
	var err error
	if o.Sockets.Secure, o.Sockets.Plain, err = systemd.Sockets(); err != nil {
		o.Log.Warn("a socket of the service manager is not used", "err", err)
	}
	return daemon.Run(ctx, o)
}

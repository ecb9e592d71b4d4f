// Command gardien-cloud is the mailbox between carriers and gateways.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gardien/cmd/gardien-cloud/service"
	"gardien/gateway"
	"gardien/store/mailbox"
	"gardien/systemd"
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
	db          string
	json        bool
}

func run(args []string, out, stderr io.Writer) int {
	errOut := systemd.NewLog(stderr) // whoever does not read it holds up no gateway
	defer errOut.Close(time.Second)
	t := &tool{out: out, errOut: errOut}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "gardien-cloud:", err)
	if !parsed || errors.Is(err, errUsage) {
		fmt.Fprintln(errOut, `run "gardien-cloud --help" for how to use it`)
		return 2
	}
	return 1
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gardien-cloud",
		Short: "The blind mailbox between carriers and Gardien gateways",
		Long: `gardien-cloud carries grants and revocations down to gateways and events up to their
issuers. All of it is sealed: this service sees ids, sizes and times. It keeps its state
in one SQLite file (a first run, one house) or in PostgreSQL (a city, with any number of
replicas behind any load balancer).`,
		Example: `  gardien-cloud serve --db mail.db                             try it on this machine
  gardien-cloud code gateway gw-a3r73d62fg --db mail.db        then, on the gateway: gardien enrol CODE
  gardien-cloud code issuer colis-x.example --db mail.db       then: gardien-issuer enrol --code CODE …
  gardien-cloud serve --db postgres://cloud@db/gardien --listen :443 \
      --cert fullchain.pem --key privkey.pem --origin https://cloud.example`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("name a command") },
	}
	root.PersistentFlags().StringVar(&t.db, "db", os.Getenv("GARDIEN_CLOUD_DB"), "SQLite file, or postgres:// URL; GARDIEN_CLOUD_DB sets it, too (a password belongs there)")
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print JSON, for programs")
	root.AddCommand(t.serveCmd(), t.codeCmd(), t.statusCmd(), t.restoredCmd())
	return root
}

func (t *tool) serveCmd() *cobra.Command {
	var o service.Options
	cmd := &cobra.Command{Use: "serve", Short: "Serve the mailbox", Args: cobra.NoArgs,
		Long: `serve answers gateways and issuers until SIGTERM; then it asks open streams to come back
elsewhere or later, and ends. Without --cert and --key it listens on loopback only, for a
proxy that ends TLS in front of it; --origin is then the address that clients use.
/healthz says whether the database answers; /metrics (Prometheus) is for this machine.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.db == "" {
				return usage("--db: name a SQLite file or a postgres:// URL")
			}
			if (o.Certificate == "") != (o.Key == "") {
				return usage("--cert and --key belong together")
			}
			o.DB, o.Log = t.db, slog.New(slog.NewTextHandler(t.errOut, nil))
			o.Ready = func(r *service.Running) {
				fmt.Fprintf(t.out, "gardien-cloud listens; its origin is %s\n", r.URL)
				if err := systemd.Ready("serving " + r.URL); err != nil {
					o.Log.Warn("the service manager was not told", "err", err)
				}
			}
			defer systemd.Stopping()
			// Streams are memory that lives long and changes little: collecting more often costs
			// little time, and saves the space of what waits to be collected. 5,000 streams: at 15 %
			// 71 kB each, and 11 s until all are back after a restart; at 25 % 75 kB, and 8 s.
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(25)
			}
			return service.Run(cmd.Context(), o)
		}}
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8420", "address and port")
	f.StringVar(&o.Certificate, "cert", "", "PEM file of the certificate and its chain; read again when it changes")
	f.StringVar(&o.Key, "key", "", "PEM file of its key")
	f.StringVar(&o.Origin, "origin", "", "how clients name this cloud, as in https://cloud.example; several with commas (default: from --listen)")
	return cmd
}

// withBox opens the database for one command.
func (t *tool) withBox(ctx context.Context, f func(*mailbox.Box) error) error {
	if t.db == "" {
		return usage("--db: name the database that \"serve\" uses")
	}
	box, err := mailbox.Open(ctx, t.db, slog.New(slog.NewTextHandler(t.errOut, nil)))
	if err != nil {
		return err
	}
	return errors.Join(f(box), box.Close())
}

func (t *tool) print(v any, people func()) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(v)
	}
	people()
	return nil
}

func (t *tool) codeCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "code", Short: "Print a one-time code of enrolment", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("name \"gateway\" or \"issuer\", and an id") }}
	var life time.Duration
	cmd.PersistentFlags().DurationVar(&life, "for", 72*time.Hour, "how long the code is good")
	add := func(kind, short string, valid func(string) bool, next string) {
		cmd.AddCommand(&cobra.Command{Use: kind + " ID", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				id := args[0]
				if !valid(id) {
					return usage("%q is not the id of %s", id, map[string]string{"gateway": "a gateway, as in gw-a3r73d62fg (\"gardien status\" shows it)", "issuer": "an issuer, as in colis-x.example"}[kind])
				}
				if life <= 0 {
					return usage("--for: want a time, as in 72h")
				}
				code, expires := newCode(), time.Now().Add(life)
				return t.withBox(cmd.Context(), func(b *mailbox.Box) error {
					if err := b.AddCode(cmd.Context(), kind, id, code, expires); err != nil {
						return err
					}
					return t.print(map[string]string{"code": code.Reveal(), "id": id, "expires": expires.Format(time.RFC3339)}, func() {
						fmt.Fprintln(t.out, code.Reveal())
						fmt.Fprintf(t.errOut, "for %s, once, until %s; then: %s\n", id, expires.Format(time.RFC3339), fmt.Sprintf(next, code.Reveal()))
					})
				})
			}})
	}
	add(mailbox.KindGateway, "For a gateway", func(s string) bool { return gateway.GatewayID(s).Valid() }, "gardien enrol %s")
	add(mailbox.KindIssuer, "For an issuer", func(s string) bool {
		return gateway.IssuerID(s).Valid() && gateway.IssuerID(s) != gateway.HomeIssuer && !gateway.GatewayID(s).Valid()
	}, "gardien-issuer enrol --key DIR --cloud URL %s")
	return cmd
}

// newCode draws 100 bits, in five groups of four letters and digits that are hard to
// misread.
func newCode() gateway.Secret {
	raw := make([]byte, 13)
	rand.Read(raw)
	text := strings.ToLower(base32.StdEncoding.EncodeToString(raw))[:20]
	return gateway.NewSecret(strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:16], text[16:]}, "-"))
}

func (t *tool) statusCmd() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "What the mailbox holds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.withBox(cmd.Context(), func(b *mailbox.Box) error {
				s, err := b.Summary(cmd.Context(), time.Now())
				if err != nil {
					return err
				}
				return t.print(s, func() {
					fmt.Fprintf(t.out, "gateways %d, %d online\nissuers  %d\nitems    %d\nevents   %d\n", s.Gateways, s.Online, s.Issuers, s.Items, s.Letters)
				})
			})
		}}
}

func (t *tool) restoredCmd() *cobra.Command {
	return &cobra.Command{Use: "restored", Short: "Say that the database came back from a backup", Args: cobra.NoArgs,
		Long: `restored gives every feed a new epoch, so that gateways compare all that they have, and
moves all numbers beyond those that were handed out since the backup. Run it once after
a restore, before "serve".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.withBox(cmd.Context(), func(b *mailbox.Box) error {
				if err := b.Restored(cmd.Context()); err != nil {
					return err
				}
				return t.print(map[string]bool{"ok": true}, func() { fmt.Fprintln(t.out, "every gateway will take a snapshot") })
			})
		}}
}

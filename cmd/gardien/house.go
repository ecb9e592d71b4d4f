package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

func (t *tool) statusCmd() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "The gateway's condition, and what to look at", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := get[api.Status](cmd, t, "/v1/status")
			if err != nil {
				return err
			}
			return t.print(s, func() {
				for _, r := range [][2]string{{"gateway", fmt.Sprintf("%s (%s)", s.ID, s.Name)}, {"version", s.Version}, {"started", s.Started},
					{"clock", fmt.Sprintf("%s, %s (source %s)", s.Clock.State, s.Clock.Now, s.Clock.Source)},
					{"database", s.Database}, {"events", fmt.Sprint(s.Seq)}, {"cloud", s.Cloud}, {"network", network(s.API)}, {"socket", s.API.Socket}} {
					fmt.Fprintf(t.out, "%-9s %s\n", r[0], r[1])
				}
				if p := s.Pause; p != nil && !s.Paused {
					fmt.Fprintf(t.out, "%-9s planned from %s%s\n", "pause", or(p.From, ""), until(p.Until))
				}
				t.printNotes(s)
			})
		}}
}

// network says where devices of the home network find the gateway.
func network(a api.StatusAPI) string {
	switch {
	case a.Name == "":
		return "off (api.listen)"
	case a.Address == "":
		return "nobody listens"
	}
	_, port, _ := net.SplitHostPort(a.Address)
	return fmt.Sprintf("https://%s:%s (listens on %s)", a.Name, port, a.Address)
}

func (t *tool) doorsCmd() *cobra.Command {
	return &cobra.Command{Use: "doors", Short: "The doors and where they stand", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.doors(cmd) }}
}

func (t *tool) doors(cmd *cobra.Command) error {
	list, err := get[api.Doors](cmd, t, "/v1/doors")
	if err != nil {
		return err
	}
	return printLines(t, list.Doors, func() {
		var rows [][]string
		for _, d := range list.Doors {
			var notes []string
			for _, n := range []struct {
				is   bool
				word string
			}{{d.HeldOpen, "held open"}, {d.Blocked, "cannot be moved"}, {d.Fault && !d.Blocked && len(d.Health) == 0, "fault"}} {
				if n.is {
					notes = append(notes, n.word)
				}
			}
			for _, h := range d.Health {
				notes = append(notes, string(h))
			}
			note := strings.Join(notes, ", ")
			if note != "" {
				note = t.paint(red, note)
			}
			if k := d.Knock; k != nil {
				what := "knocks"
				if k.Asks {
					what = "asks to be let in"
				}
				note = strings.TrimLeft(fmt.Sprintf("%s, %s %s, until %s (attempt %s)", note, k.Grant, what, k.Until, k.Attempt), ", ")
			}
			rows = append(rows, []string{string(d.ID), d.Name, or(d.Strike, "-"), or(d.Lock, "-"), or(d.Contact, "-"), note})
		}
		t.table("DOOR NAME STRIKE LOCK CONTACT ", rows)
	})
}

func (t *tool) issuerCmd() *cobra.Command {
	cmd := group("issuer", "Third parties that sign grants")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "The third parties, their limits and state", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := get[api.Issuers](cmd, t, "/v1/issuers")
			if err != nil {
				return err
			}
			return printLines(t, list.Issuers, func() {
				for _, i := range list.Issuers {
					state := t.paint(green, "active")
					if i.Paused {
						state = t.paint(red, "paused"+until(i.PausedUntil))
					}
					if i.SetAside != nil {
						state = t.paint(red, "set aside: "+*i.SetAside)
					}
					fmt.Fprintf(t.out, "%s (%s) %s, doors %v, %d entries today, heard from %s, manifest %s\n", i.ID, i.Name, state, i.Doors, i.Today, or(i.HeardAt, "never"), or(i.ManifestAt, "none"))
					if i.StopsAt != nil {
						fmt.Fprintf(t.out, "    without news its grants stop at %s\n", *i.StopsAt)
					}
					for _, line := range policyLines(i.Policy) {
						fmt.Fprintln(t.out, "    "+line)
					}
				}
			})
		}})
	cmd.AddCommand(pauses{t}.pauseIssuer(), pauses{t}.resumeIssuer())
	return cmd
}

func (t *tool) descriptorCmd() *cobra.Command {
	return &cobra.Command{Use: "descriptor", Short: "Print the gateway's signed descriptor, for an issuer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := get[api.Descriptor](cmd, t, "/v1/descriptor")
			if err != nil {
				return err
			}
			return t.print(d, func() { fmt.Fprintln(t.out, d.Descriptor) })
		}}
}

func (t *tool) enrolCmd() *cobra.Command {
	return &cobra.Command{Use: "enrol CODE", Short: "Enrol at the cloud that gardien.yaml names, with its operator's one-time code",
		Long: `enrol registers the gateway's public keys, doors and issuers at the cloud that cloud.url in
gardien.yaml names. The code comes from the cloud's operator ("gardien-cloud code gateway
ID"; "gardien status" shows the id). It is needed once; from then on the gateway shows
an assertion that it signs with its own key.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := post[api.CloudStatus](cmd, t, "/v1/cloud/enrolment", api.CloudEnrolment{Code: args[0]})
			if err != nil {
				return err
			}
			return t.print(st, func() { fmt.Fprintf(t.out, "%s is enrolled at %s\n", st.ID, st.Cloud) })
		}}
}

func (t *tool) clockCmd() *cobra.Command {
	cmd := group("clock", "What time the gateway believes it is")
	cmd.AddCommand(&cobra.Command{Use: "confirm", Short: "Give your word that the system's clock is right now; it may lower a floor from the future", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := post[api.StatusClock](cmd, t, "/v1/clock/confirm", nil)
			if err != nil {
				return err
			}
			return t.print(c, func() { fmt.Fprintf(t.out, "it is %s (%s)\n", c.Now, c.State) })
		}})
	return cmd
}

func (t *tool) backupCmd() *cobra.Command {
	return &cobra.Command{Use: "backup FILE", Short: "Write a copy of the database, without the keys",
		Long: `backup writes a consistent copy of the database to a new file of mode 0600. It holds
no keys: copy the folder "keys" of the state folder once, to a safe place of its own.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			f, err := os.OpenFile(args[0], os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			var n int64
			err = t.Send(cmd.Context(), "GET", "/v1/backup", "", nil, func(r io.Reader) error {
				n, err = io.Copy(f, r)
				return err
			})
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				os.Remove(args[0])
				return err
			}
			return t.done("%s: %d bytes", args[0], n)
		}}
}

func (t *tool) restoreCmd() *cobra.Command {
	return &cobra.Command{Use: "restore FILE", Short: "Replace the database by a backup",
		Long: `restore replaces the database by a backup of this gateway. Grants with a limited
number of uses that were made before now become void, for some of them may have
been used since the backup; make them again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if err := t.Send(cmd.Context(), "POST", "/v1/restore", "application/vnd.sqlite3", f, nil); err != nil {
				return err
			}
			return t.done("restored; grants with limited uses from before now are void")
		}}
}

func asDoors(names []string) (list []gateway.DoorID) {
	for _, n := range names {
		list = append(list, gateway.DoorID(n))
	}
	return list
}

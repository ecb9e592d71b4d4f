package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

func (t *tool) eventsCmd() *cobra.Command {
	var follow bool
	var after int64
	cmd := &cobra.Command{Use: "events", Short: "The record of what happened", Args: cobra.NoArgs,
		Example: "  gardien events --follow\n  gardien events verify\n  gardien events forget parcel-4711",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if follow {
				return t.Stream(cmd.Context(), after, t.printEvent)
			}
			for {
				page, err := get[api.Events](cmd, t, fmt.Sprintf("/v1/events?limit=1000&after=%d", after))
				if err != nil {
					return err
				}
				for _, e := range page.Events {
					if err := t.printEvent(e); err != nil {
						return err
					}
				}
				if after = page.Next; len(page.Events) < 1000 {
					return nil
				}
			}
		}}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on as it grows")
	cmd.Flags().Int64Var(&after, "after", 0, "begin after this seq")
	cmd.AddCommand(t.verifyCmd(), t.forgetCmd())
	return cmd
}

func (t *tool) printEvent(e gateway.Event) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(e)
	}
	colour := ""
	switch e.Type {
	case gateway.AccessGranted, gateway.AccessTaken:
		colour = green
	case gateway.AccessDenied, gateway.DoorForcedOpen, gateway.DoorFault, gateway.Duress, gateway.ReaderLockedOut, gateway.LockJammedEvent:
		colour = red
	case gateway.DoorHeldOpen, gateway.Interrupted, gateway.ClockLost, gateway.GrantRejected, gateway.ApprovalAsked, gateway.InterlockOverridden:
		colour = yellow
	}
	var about []string
	attempt := "" // where somebody may answer by it, or ask for its receipt
	if slices.Contains([]gateway.EventType{gateway.ApprovalAsked, gateway.AccessTaken}, e.Type) {
		attempt = string(e.Attempt)
	}
	for _, f := range []struct{ name, value string }{{"door", string(e.Door)}, {"reader", string(e.Reader)}, {"grant", string(e.Issuer)},
		{"reason", string(e.Reason)}, {"ref", e.Sub}, {"resident", string(e.Resident)}, {"device", e.Device}, {"attempt", attempt}} {
		if f.name == "grant" && e.Grant != "" {
			f.value += "/" + e.Grant
		}
		if f.value != "" {
			about = append(about, f.name+" "+f.value)
		}
	}
	if e.Count > 0 {
		about = append(about, fmt.Sprintf("× %d", e.Count))
	}
	name := fmt.Sprintf("%-18s", e.Type)
	if colour != "" {
		name = t.paint(colour, name)
	}
	clock := ""
	if e.Clock != gateway.ClockSynced {
		clock = " (clock " + string(e.Clock) + ")"
	}
	_, err := fmt.Fprintf(t.out, "%6d  %s%s  %s %s\n", e.Seq, e.At, clock, name, strings.Join(about, ", "))
	return err
}

func (t *tool) verifyCmd() *cobra.Command {
	return &cobra.Command{Use: "verify", Short: "Verify that the record is what was written", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := get[api.Verification](cmd, t, "/v1/events/verification")
			if err != nil {
				return err
			}
			err = t.print(v, func() {
				if v.OK {
					fmt.Fprintln(t.out, t.paint(green, fmt.Sprintf("✓ %d events, one chain", v.Events)))
				}
			})
			if err == nil && !v.OK {
				return errors.New(broken(v))
			}
			return err
		}}
}

// broken says where the record is not what was written.
func broken(v api.Verification) string {
	if v.FirstBad == nil {
		return v.Problem
	}
	return fmt.Sprintf("event %d: %s", *v.FirstBad, v.Problem)
}

func (t *tool) forgetCmd() *cobra.Command {
	return &cobra.Command{Use: "forget REF", Short: "Forget what is personal about a reference, an issuer/jti or a resident; hashes stay", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := post[api.Forgotten](cmd, t, "/v1/events/forget", api.ForgetRequest{Ref: args[0]})
			if err != nil {
				return err
			}
			return t.print(f, func() { fmt.Fprintf(t.out, "%d rows forgot it; the record still verifies\n", f.Forgotten) })
		}}
}

func (t *tool) simCmd() *cobra.Command {
	cmd := group("sim", "Move simulated doors and readers")
	add := func(use, short string, n int, path string, body func(args []string) any) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(n), RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/sim/"+path, body(args)); err != nil {
				return err
			}
			if t.json {
				return t.done("")
			}
			return nil
		}})
	}
	add("contact DOOR open|close", "Move the leaf", 2, "contact", func(a []string) any {
		return api.SimContact{Door: gateway.DoorID(a[0]), State: gateway.ContactState(a[1])}
	})
	add("keys READER KEYS", "Type at a reader, as in \"4711#\"", 2, "keys", func(a []string) any {
		return api.SimKeys{Reader: gateway.ReaderID(a[0]), Keys: a[1]}
	})
	add("scan READER TEXT", "Present a grant's text at a reader", 2, "scan", func(a []string) any {
		return api.SimScan{Reader: gateway.ReaderID(a[0]), Text: a[1]}
	})
	add("rex DOOR", "Press the request to exit", 1, "rex", func(a []string) any { return api.SimREX{Door: gateway.DoorID(a[0])} })
	add("fault DOOR stuck|jam|clear", "Break or mend the strike", 2, "fault", func(a []string) any {
		return api.SimFault{Door: gateway.DoorID(a[0]), Fault: a[1]}
	})
	cmd.AddCommand(&cobra.Command{Use: "show", Short: "Where everything stands", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !t.json {
				return t.doors(cmd)
			}
			list, err := get[api.Doors](cmd, t, "/v1/doors")
			if err != nil {
				return err
			}
			return json.NewEncoder(t.out).Encode(list)
		}})
	return cmd
}

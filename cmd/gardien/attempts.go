package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"gardien/gateway/api"
)

func (t *tool) unlockCmd() *cobra.Command {
	var hold bool
	cmd := &cobra.Command{Use: "unlock DOOR", Short: "Let somebody in now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := post[api.Granted](cmd, t, "/v1/doors/"+url.PathEscape(args[0])+"/attempts", api.AttemptRequest{Hold: hold})
			var denied *api.DeniedError
			if errors.As(err, &denied) {
				if t.json {
					json.NewEncoder(t.out).Encode(denied.Denied)
				}
				return fmt.Errorf("%w; \"gardien events\" says why", err)
			}
			if err != nil {
				return err
			}
			return t.print(g, func() {
				fmt.Fprintf(t.out, "%s for %s (attempt %s)\n", t.paint(green, string(g.Door)+" is released"), g.ReleaseTime, g.Attempt)
			})
		}}
	cmd.Flags().BoolVar(&hold, "hold", false, "insist, although another door of the interlock is not closed and secured")
	return cmd
}

func (t *tool) vetoCmd() *cobra.Command {
	return &cobra.Command{Use: "veto DOOR", Short: "Say no to whoever knocks at a door", Args: cobra.ExactArgs(1),
		Long: `veto keeps whoever knocks at a door out, there and at every other door, and whoever
comes to it, for three minutes from now on. Issuers with "knock" in the configuration
knock: the events knock and door_bell tell of it, and the door stays shut until the
residents had their time. Who asks there (see "gardien approve --help") is denied, too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/doors/"+url.PathEscape(args[0])+"/veto", nil); err != nil {
				return err
			}
			return t.done("whoever knocks at %s stays out", args[0])
		}}
}

func approveCmd(t *tool) *cobra.Command {
	return &cobra.Command{Use: "approve ATTEMPT", Short: "Let in whoever waits for your yes", Args: cobra.ExactArgs(1),
		Long: `approve lets in whoever waits for a resident's yes: with a grant whose issuer has
"approval: ask" in the configuration, or that was made with "gardien grant add --approval
ask". The event approval_asked tells of it, and "gardien doors" shows who waits, with the
attempt's id. Residents have a minute; the first answer counts. Everything is judged once
more: what was revoked or paused meanwhile stays out, and approve says so.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/attempts/" + url.PathEscape(args[0])
			if err := t.act(cmd, "POST", path+"/approve", nil); err != nil {
				return err
			}
			o, err := get[api.AttemptOutcome](cmd, t, path)
			if err != nil {
				return err
			}
			err = t.print(o, func() {
				if o.Decision == "granted" {
					fmt.Fprintf(t.out, "%s for %s (attempt %s)\n", t.paint(green, string(o.Door)+" is released"), o.ReleaseTime, o.Attempt)
				}
			})
			if err == nil && o.Decision != "granted" {
				err = fmt.Errorf("approved, but the rule does not let them in any more (%s); \"gardien events\" says why", o.Code)
			}
			return err
		}}
}

func denyCmd(t *tool) *cobra.Command {
	return &cobra.Command{Use: "deny ATTEMPT", Short: "Say no to whoever waits for your yes", Args: cobra.ExactArgs(1),
		Long: `deny refuses whoever waits for a resident's yes (see "gardien approve --help"), there and
at every other door, for three minutes. Nothing of the grant is spent.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/attempts/"+url.PathEscape(args[0])+"/deny", nil); err != nil {
				return err
			}
			return t.done("%s: denied", args[0])
		}}
}

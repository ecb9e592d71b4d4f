package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

func (t *tool) grantCmd() *cobra.Command {
	return group("grant", "Permissions to enter",
		t.grantAddCmd(), t.grantListCmd(), t.grantShowCmd(), t.grantRevokeCmd(), t.grantExplainCmd(), t.grantImportCmd())
}

// addFlags are what grant add takes.
type addFlags struct {
	doors       []string
	from, to    string
	days, hours string
	uses        int
	pin         bool
	resident    string
	kind        string
	card        string
	holder      string
	ref         string
	approval    string
	silence     string
}

func (t *tool) grantAddCmd() *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{Use: "add --door DOOR", Short: "Make a grant at home",
		Long: `add makes a grant, and says what presents it: --pin draws a PIN, --card names a card,
--holder a phone's key; at least one of them is needed. Without --days it is for one
stretch of time: from now, or --from, to --to, by default the end of the day. With --days
and --hours it recurs every week, until --to or for good. It opens as often as wanted,
unless --uses gives a number; --uses 1 is what a courier needs. Hours whose end is not
after their start run past midnight and belong to the day that they start on.

With --pin --resident the PIN is that resident's own: it ends a run of wrong PINs and
unknown cards at a reader, which nobody else's PIN does, and it goes when the resident
is removed. "gardien resident list" shows the ids.`,
		Example: `  gardien grant add --door front --uses 1 --pin
  gardien grant add --door front --to 2026-12-01T18:00 --uses 3 --pin --ref parcel-4711
  gardien grant add --door front --days fri --hours 22:00-06:00 --pin
  gardien grant add --door front --to 2099-01-01 --pin --resident ID`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := t.request(cmd, f)
			if err != nil {
				return err
			}
			made, err := post[api.GrantMade](cmd, t, "/v1/grants", req)
			if err != nil {
				return err
			}
			return t.print(made, func() { t.printPIN(made) })
		}}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.doors, "door", nil, "door to open; may be given again")
	fl.StringVar(&f.from, "from", "", "first instant: RFC 3339, or 2026-12-01T09:00 in the gateway's zone")
	fl.StringVar(&f.to, "to", "", "last instant, not included")
	fl.StringVar(&f.days, "days", "", "days of the week, as in mon,thu")
	fl.StringVar(&f.hours, "hours", "", "hours of those days, as in 09:00-12:30; several with commas")
	fl.IntVar(&f.uses, "uses", 0, "entries (default: as often as wanted)")
	fl.BoolVar(&f.pin, "pin", false, "draw a PIN; it is shown this once and never again")
	fl.StringVar(&f.resident, "resident", "", "the PIN is this resident's own (with --pin)")
	fl.StringVar(&f.kind, "kind", "", "whom it is for: courier, technician, employee or family (default: as hours and uses tell)")
	fl.StringVar(&f.card, "card", "", "a Wiegand card that opens, as in 26:123:45678: bits, facility, number")
	fl.StringVar(&f.holder, "holder", "", "thumbprint of the key (RFC 7638, 43 characters) of a phone that opens; the text for the phone is shown")
	fl.StringVar(&f.approval, "approval", "off", "ask: residents have to say yes each time, within a minute")
	fl.StringVar(&f.silence, "approval-silence", "", "with --approval ask, what it means when nobody answers: deny (default) or approve")
	fl.StringVar(&f.ref, "ref", "", "a reference of yours, as in parcel-4711; no names")
	return cmd
}

func (t *tool) printPIN(made api.GrantMade) {
	fmt.Fprintf(t.out, "grant %s\n", made.ID)
	if made.PIN != "" {
		fmt.Fprintf(t.out, "PIN   %s   (shown this once)\n", t.paint(green, made.PIN))
	}
	if made.Grant != "" {
		fmt.Fprintf(t.out, "text for the phone:\n%s\n", made.Grant)
	}
}

// request turns flags into the API's words.
func (t *tool) request(cmd *cobra.Command, f addFlags) (*api.GrantRequest, error) {
	req := &api.GrantRequest{PIN: f.pin, Resident: gateway.ResidentID(f.resident), Kind: gateway.Kind(f.kind), Card: f.card, Holder: f.holder, Sub: f.ref, Approval: f.approval, ApprovalSilence: f.silence}
	if f.resident != "" && !f.pin {
		return nil, usage("--resident: it is for that resident's own PIN, so give --pin, too")
	}
	if f.kind != "" && !req.Kind.Valid() {
		return nil, usage("--kind: want courier, technician, employee or family")
	}
	if cmd.Flags().Changed("uses") {
		if f.uses < 1 {
			return nil, usage("--uses: want a number from 1 on; leave it out for as often as wanted")
		}
		req.Uses = &f.uses
	}
	if len(f.doors) == 0 {
		return nil, usage("name a door: --door DOOR (\"gardien doors\" lists them)")
	}
	if !f.pin && f.card == "" && f.holder == "" {
		return nil, usage("nothing could present this grant: add --pin, --card BITS:FACILITY:NUMBER or --holder THUMBPRINT")
	}
	if f.holder != "" && !gateway.ValidThumbprint(f.holder) {
		return nil, usage("--holder %q: want the thumbprint of a P-256 key (RFC 7638), 43 characters of base64url", f.holder)
	}
	for _, d := range f.doors {
		req.Doors = append(req.Doors, gateway.DoorID(d))
	}
	now, err := t.gatewayTime(cmd)
	if err != nil {
		return nil, err
	}
	for _, in := range []struct {
		flag, text string
		to         **time.Time
	}{{"from", f.from, &req.NotBefore}, {"to", f.to, &req.NotAfter}} {
		if in.text == "" {
			continue
		}
		v, err := gateway.ParseTime(in.text, now.Location())
		if err != nil {
			return nil, usage("--%s: %v", in.flag, err)
		}
		*in.to = &v
	}
	if f.days == "" && f.hours == "" {
		if req.NotAfter == nil {
			start := now
			if req.NotBefore != nil {
				start = req.NotBefore.In(now.Location())
			}
			y, m, d := start.Date()
			end := time.Date(y, m, d+1, 0, 0, 0, 0, now.Location())
			req.NotAfter = &end
		}
		return req, nil
	}
	if req.Schedule, err = gateway.ParseHours(f.days, f.hours); err != nil {
		return nil, usage("%v", err)
	}
	return req, nil
}

// gatewayTime is the gateway's time in its own zone, as far as an offset tells it.
func (t *tool) gatewayTime(cmd *cobra.Command) (time.Time, error) {
	s, err := get[api.Status](cmd, t, "/v1/status")
	if err != nil {
		return time.Time{}, err
	}
	zone, err := time.LoadLocation(s.Clock.Zone)
	if err != nil {
		return time.Time{}, err
	}
	now, err := time.Parse(time.RFC3339, s.Clock.Now)
	return now.In(zone), err
}

func (t *tool) grantListCmd() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The grants that the gateway remembers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []api.Grant
			for after := ""; ; {
				page, err := get[api.Grants](cmd, t, "/v1/grants?limit=1000&after="+url.QueryEscape(after))
				if err != nil {
					return err
				}
				all = append(all, page.Grants...)
				if after = page.Next; after == "" {
					break
				}
			}
			return printLines(t, all, func() {
				var rows [][]string
				for _, g := range all {
					rows = append(rows, []string{g.ID, string(g.Status), fmt.Sprint(g.Doors), g.NotBefore, g.NotAfter, usesOf(g), string(g.Kind), or(g.Sub, "")})
				}
				t.table("ID STATUS DOORS FROM TO USES FOR REF", rows)
			})
		}}
}

func usesOf(g api.Grant) string {
	if g.Uses == nil {
		return "any"
	}
	return fmt.Sprintf("%d of %d left", *g.UsesLeft, *g.Uses)
}

func (t *tool) grantShowCmd() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "One grant", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := get[api.Grant](cmd, t, grantPath(args[0]))
			if err != nil {
				return err
			}
			return t.print(g, func() {
				fmt.Fprintf(t.out, "grant    %s, version %d, %s\ndoors    %v\nfrom     %s\nto       %s\nuses     %s\n", g.ID, g.Ver, g.Status, g.Doors, g.NotBefore, g.NotAfter, usesOf(g))
				fmt.Fprintf(t.out, "for      %s\n", g.Kind)
				if g.MadeBy != nil {
					fmt.Fprintf(t.out, "made by  %s\n", *g.MadeBy)
				}
				if !g.Presentable {
					fmt.Fprintln(t.out, t.paint(red, "nothing can present it now (gardien grant explain)"))
				}
				if g.Approval == "ask" {
					fmt.Fprintf(t.out, "approval residents are asked; their silence says: %s\n", or(g.ApprovalSilence, "deny"))
				}
				if g.Schedule != nil {
					for _, w := range g.Schedule.Windows {
						fmt.Fprintf(t.out, "hours    %v %s-%s\n", w.Days, w.From, w.To)
					}
				}
				if g.Sub != nil {
					fmt.Fprintf(t.out, "ref      %s\n", *g.Sub)
				}
			})
		}}
}

func (t *tool) grantRevokeCmd() *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "End a grant; a third party's is blocked here until a higher version comes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "DELETE", grantPath(args[0]), nil); err != nil {
				return err
			}
			return t.done("%s: revoked", args[0])
		}}
}

func (t *tool) grantExplainCmd() *cobra.Command {
	var at, door string
	cmd := &cobra.Command{Use: "explain ID", Short: "Every check of the rule with its verdict, at an instant", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if at != "" {
				now, err := t.gatewayTime(cmd)
				if err != nil {
					return err
				}
				v, err := gateway.ParseTime(at, now.Location())
				if err != nil {
					return usage("--at: %v", err)
				}
				q.Set("at", v.Format(time.RFC3339))
			}
			if door != "" {
				q.Set("door", door)
			}
			x, err := get[api.Explanation](cmd, t, grantPath(args[0])+"/explanation?"+q.Encode())
			if err != nil {
				return err
			}
			return t.print(x, func() {
				for _, c := range x.Checks {
					mark := t.paint(green, "✓")
					if !c.OK {
						mark = t.paint(red, "✗ "+string(c.Reason))
					}
					fmt.Fprintf(t.out, "%-22s %s  %s\n", c.Check, mark, c.Detail)
				}
				reason := ""
				if x.Reason != nil {
					reason = string(*x.Reason)
				}
				fmt.Fprintf(t.out, "at %s, door %s: %s %s\n", x.At, x.Door, x.Verdict, reason)
			})
		}}
	cmd.Flags().StringVar(&at, "at", "", "the instant (default: now)")
	cmd.Flags().StringVar(&door, "door", "", "the door (default: the grant's first one here)")
	return cmd
}

func (t *tool) grantImportCmd() *cobra.Command {
	return &cobra.Command{Use: "import FILE|-", Short: "Hand in grants, one a line, sealed or not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			texts, err := t.readLines(args[0])
			if err != nil {
				return err
			}
			res, err := post[api.MailbagResults](cmd, t, "/v1/mailbag", map[string]any{"items": texts})
			if err != nil {
				return err
			}
			if res.Durable != nil && !*res.Durable {
				noteUndurable(cmd)
			}
			rejected := 0
			for _, r := range res.Results {
				if r.Result == "rejected" {
					rejected++
				}
			}
			err = t.print(res, func() {
				for _, r := range res.Results {
					fmt.Fprintln(t.out, strings.TrimSpace(strings.Join([]string{r.Result, r.ID, string(r.Reason), r.Detail}, " ")))
				}
			})
			if err == nil && rejected > 0 {
				err = fmt.Errorf("%d of %d rejected", rejected, len(res.Results))
			}
			return err
		}}
}

func (t *tool) readLines(name string) ([]json.RawMessage, error) {
	in := t.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	const most = 250 << 10 // the gateway takes 256 KiB at once
	b, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("%s: more than %d bytes: hand it in in parts", name, most)
	}
	var texts []json.RawMessage
	for _, line := range strings.Fields(string(b)) {
		quoted, err := json.Marshal(line)
		if err != nil {
			return nil, err
		}
		texts = append(texts, quoted)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%s: no grant in it", name)
	}
	return texts, nil
}

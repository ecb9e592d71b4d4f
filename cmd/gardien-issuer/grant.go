package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/tokens"
)

func (t *tool) keygenCmd() *cobra.Command {
	var id, dir string
	cmd := &cobra.Command{Use: "keygen --id ISS --out DIR", Short: "Make an issuer's keys, once", Args: cobra.NoArgs,
		Long: `keygen makes a folder with the issuer's signing key (private.jwk, mode 0600), a key that
receives events (opening.jwk, mode 0600), and jwks.json, which every gateway that is
to listen to the issuer gets: in gardien.yaml, issuers[].keys names it.`,
		RunE: func(*cobra.Command, []string) error {
			iss := gateway.IssuerID(id)
			if !iss.Valid() || iss == gateway.HomeIssuer {
				return usage("--id %q: want lower-case letters, digits, dots and hyphens, at most 64, not \"home\"", id)
			}
			if dir == "" {
				return usage("--out DIR: name the folder to make")
			}
			f, err := carrier.Create(dir, iss)
			if err != nil {
				return err
			}
			return t.print(map[string]string{"id": id, "kid": f.KeyID(), "jwks": dir + "/jwks.json"}, func() {
				fmt.Fprintf(t.out, "issuer %s, key %s\ngive %s/jwks.json to gateways; keep %s/private.jwk to yourself\n", id, f.KeyID(), dir, dir)
			})
		}}
	cmd.Flags().StringVar(&id, "id", "", "the issuer's id, as in colis-x.example")
	cmd.Flags().StringVar(&dir, "out", "", "folder to make")
	return cmd
}

// grantFlags are what grant takes.
type grantFlags struct {
	gateway, key, from, to, days, hours, jti, ref, holder string
	doors                                                 []string
	uses                                                  int
	ver                                                   int64
	pin, seal, limited                                    bool
	card                                                  string
}

func (t *tool) grantCmd() *cobra.Command {
	var f grantFlags
	cmd := &cobra.Command{Use: "grant --gateway FILE|ID --key DIR --door DOOR", Short: "Sign a grant, and print or send it", Args: cobra.NoArgs,
		Long: `grant signs a grant for one gateway. With the gateway's id it is sealed and sent by the
cloud where DIR is enrolled; with the file of its descriptor it is printed, to be handed
over. With --pin it draws a PIN of the length that the doors take (eight digits, if they
do not say so), shows it this once, and seals the grant. Without --to it ends after 24 hours, or with --days after 30 days.`,
		Example: `  gardien-issuer grant --key keys --gateway gw-a3r73d62fg --door front --uses 1 --pin --ref parcel-4711
  gardien-issuer grant --key keys --gateway gw-a3r73d62fg --door front --from 2026-12-01T09:00 --to 2026-12-01T12:00
  gardien-issuer grant --key keys --gateway gw-a3r73d62fg --door front --days mon,thu --hours 09:00-12:30
  gardien-issuer grant --key keys --gateway gw.jws --door front --uses 1 > grant.jws`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.limited = cmd.Flags().Changed("uses")
			to, err := target(cmd.Context(), f.key, f.gateway)
			if err != nil {
				return err
			}
			g, err := f.grant(to, time.Now())
			if err != nil {
				return err
			}
			text, err := to.Sign(g, f.seal || f.pin || f.card != "")
			if err != nil {
				return err
			}
			out := document{ID: g.ID.String(), Grant: text, PIN: g.PIN.Reveal()}
			if !to.ByCloud() {
				return t.hand(out)
			}
			if err := to.SendGrant(cmd.Context(), g, text); err != nil {
				return err
			}
			return t.sent(to, out)
		}}
	fl := cmd.Flags()
	fl.StringVar(&f.gateway, "gateway", "", "the gateway's id, or the file of its descriptor")
	fl.StringVar(&f.key, "key", "", "the folder that keygen made")
	fl.StringSliceVar(&f.doors, "door", nil, "door to open; may be given again")
	fl.StringVar(&f.from, "from", "", "first instant: RFC 3339, or local in the gateway's zone (default: now)")
	fl.StringVar(&f.to, "to", "", "last instant, not included")
	fl.StringVar(&f.days, "days", "", "days of the week, as in mon,thu")
	fl.StringVar(&f.hours, "hours", "", "hours of those days in the gateway's zone, as in 09:00-12:30")
	fl.IntVar(&f.uses, "uses", 0, "entries (default: as often as wanted)")
	fl.StringVar(&f.jti, "jti", "", "id of the grant (default: drawn)")
	fl.Int64Var(&f.ver, "ver", 0, "version (default: one more than the last)")
	fl.StringVar(&f.ref, "ref", "", "opaque reference, as in a parcel's number; never a name")
	fl.StringVar(&f.holder, "holder", "", "public JWK of the only phone that may present it, or a file with it")
	fl.StringVar(&f.card, "card", "", "a Wiegand card that opens, as in 26:123:45678; implies --seal; the resident must allow it")
	fl.BoolVar(&f.pin, "pin", false, "draw a PIN; implies --seal")
	fl.BoolVar(&f.seal, "seal", false, "seal it: only the gateway can read it")
	return cmd
}

func (f *grantFlags) grant(to *carrier.Gateway, now time.Time) (gateway.Grant, error) {
	gw := to.Descriptor
	g := gateway.Grant{ID: gateway.GrantID{Issuer: to.ID, JTI: f.jti}, Version: f.ver, Status: gateway.GrantActive,
		IssuedAt: now.Truncate(time.Second), Uses: f.uses, Sub: f.ref}
	if g.ID.JTI == "" {
		g.ID.JTI = gateway.NewJTI()
	}
	if !gateway.ValidJTI(g.ID.JTI) {
		return g, usage("--jti %q: want 1–64 of A–Z a–z 0–9 . _ -", f.jti)
	}
	if f.uses < 1 && f.limited {
		return g, usage("--uses: want a number from 1 on; leave it out for as often as wanted")
	}
	if len(f.doors) == 0 || len(f.doors) > 8 {
		return g, usage("--door: name 1 to 8 doors; the gateway has %v", gw.Doors)
	}
	for _, d := range f.doors {
		if !slices.Contains(gw.Doors, gateway.DoorID(d)) {
			return g, fmt.Errorf("gateway %s has no door %q: it has %v", gw.Gateway, d, gw.Doors)
		}
		g.Doors = append(g.Doors, gateway.DoorID(d))
	}
	zone, err := time.LoadLocation(gw.Zone)
	if err != nil {
		return g, fmt.Errorf("the gateway's time zone %q: %w", gw.Zone, err)
	}
	if err := f.times(&g, zone, now); err != nil {
		return g, err
	}
	if f.holder != "" {
		b := []byte(f.holder)
		if !strings.HasPrefix(f.holder, "{") {
			if b, err = os.ReadFile(f.holder); err != nil {
				return g, err
			}
		}
		if g.Holder, err = tokens.ParseHolder(b); err != nil {
			return g, fmt.Errorf("--holder: %w", err)
		}
	}
	if f.card != "" {
		if g.Card, err = gateway.ParseCard(f.card); err != nil {
			return g, fmt.Errorf("--card: %w", err)
		}
	}
	if f.pin {
		if g.PIN, err = to.DrawPIN(g.Doors); err != nil {
			return g, err
		}
	}
	if g.Version == 0 {
		last, _, err := to.Latest(gw.Gateway, g.ID.JTI)
		if err != nil {
			return g, err
		}
		g.Version = last.Ver + 1
	}
	return g, nil
}

func (f *grantFlags) times(g *gateway.Grant, zone *time.Location, now time.Time) (err error) {
	g.NotBefore = now.Truncate(time.Second)
	if f.from != "" {
		if g.NotBefore, err = gateway.ParseTime(f.from, zone); err != nil {
			return usage("--from: %v", err)
		}
	}
	g.NotAfter = g.NotBefore.Add(24 * time.Hour)
	if f.days != "" || f.hours != "" {
		g.NotAfter = g.NotBefore.Add(30 * 24 * time.Hour)
		if g.Schedule, err = f.schedule(); err != nil {
			return err
		}
	}
	if f.to != "" {
		if g.NotAfter, err = gateway.ParseTime(f.to, zone); err != nil {
			return usage("--to: %v", err)
		}
	}
	if !g.NotBefore.Before(g.NotAfter) {
		return usage("--to: it must lie after --from")
	}
	return nil
}

func (f *grantFlags) schedule() (*gateway.Schedule, error) {
	s, err := gateway.ParseHours(f.days, f.hours)
	if err != nil {
		return nil, usage("%v", err)
	}
	return s, nil
}

// document is what a command answers with.
type document struct {
	ID    string `json:"id"`
	Grant string `json:"grant,omitempty"`
	PIN   string `json:"pin,omitempty"`
}

// hand prints a document for somebody to carry.
func (t *tool) hand(d document) error {
	return t.print(d, func() {
		if d.PIN != "" {
			fmt.Fprintf(t.errOut, "PIN %s (shown this once), grant %s\n", d.PIN, d.ID)
		}
		fmt.Fprintln(t.out, d.Grant)
	})
}

// sent says what the cloud has taken.
func (t *tool) sent(to *carrier.Gateway, d document) error {
	d.Grant = ""
	return t.print(d, func() {
		fmt.Fprintf(t.out, "grant %s, sent to %s\n", d.ID, to.Descriptor.Gateway)
		if d.PIN != "" {
			fmt.Fprintf(t.out, "PIN   %s   (shown this once)\n", d.PIN)
		}
	})
}

func (t *tool) revokeCmd() *cobra.Command {
	var gw, key, jti string
	cmd := &cobra.Command{Use: "revoke --gateway FILE|ID --key DIR --jti JTI", Short: "Sign a revocation, and print or send it", Args: cobra.NoArgs,
		Long: `revoke signs the grant anew, with a higher version and the status "revoked". With the
gateway's id it is sent by the cloud; a gateway that is offline gets it when it is back.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if jti == "" {
				return usage("--jti JTI: name the grant to revoke")
			}
			to, err := target(cmd.Context(), key, gw)
			if err != nil {
				return err
			}
			g, err := to.Revocation(strings.TrimPrefix(jti, string(to.ID)+"/"))
			if err != nil {
				return err
			}
			text, err := to.Sign(g, true)
			if err != nil {
				return err
			}
			out := document{ID: g.ID.String(), Grant: text}
			if !to.ByCloud() {
				return t.hand(out)
			}
			if err := to.SendGrant(cmd.Context(), g, text); err != nil {
				return err
			}
			return t.print(document{ID: out.ID}, func() { fmt.Fprintf(t.out, "grant %s, revocation sent to %s\n", out.ID, to.Descriptor.Gateway) })
		}}
	t.targetFlags(cmd, &key, &gw)
	cmd.Flags().StringVar(&jti, "jti", "", "the grant's id")
	return cmd
}

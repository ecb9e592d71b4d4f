package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
)

// cloudAt is cloud.json: where the issuer is enrolled.
type cloudAt struct {
	URL string `json:"url"`
	CA  string `json:"ca,omitempty"` // PEM file of its authority; "": the system's
}

// connect makes a client of the cloud where the folder is enrolled.
func (f *folder) connect() (*uplink.Client, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "cloud.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not enrolled at a cloud: gardien-issuer enrol --key %s --cloud URL CODE; or name the file of a gateway's descriptor", f.dir, f.dir)
	}
	if err != nil {
		return nil, err
	}
	var at cloudAt
	if err := json.Unmarshal(b, &at); err != nil {
		return nil, fmt.Errorf("%s/cloud.json: %w", f.dir, err)
	}
	return f.client(at)
}

func (f *folder) client(at cloudAt) (*uplink.Client, error) {
	u, err := url.Parse(at.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || !gateway.IsOrigin(*u) {
		return nil, usage("--cloud %q: want it as in https://cloud.example", at.URL)
	}
	var config *tls.Config
	if at.CA != "" {
		pem, err := os.ReadFile(at.CA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", at.CA)
		}
		config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	return uplink.NewClient(uplink.ClientOpts{URL: u, TLS: config, Sign: func(now time.Time) (string, error) {
		return tokens.SignAssertion(f.key, string(f.id), gateway.Origin(u), now)
	}}), nil
}

// target is a gateway, and the way to it.
type target struct {
	*folder
	descriptor *tokens.Descriptor
	cloud      *uplink.Client // nil: documents are handed over
}

// target finds a gateway by its id, at the cloud, or by its descriptor's file.
func (t *tool) target(ctx context.Context, key, gw string) (*target, error) {
	f, err := openFolder(key)
	if err != nil {
		return nil, err
	}
	if !gateway.GatewayID(gw).Valid() {
		d, err := readDescriptor(gw)
		return &target{f, d, nil}, err
	}
	c, err := f.connect()
	if err != nil {
		return nil, err
	}
	d, err := f.descriptor(ctx, c, gateway.GatewayID(gw), true)
	return &target{f, d, c}, err
}

// descriptor gets a gateway's descriptor from the cloud, or from the folder where a copy
// will do. Its id is that of its key, so the cloud cannot make one up.
func (f *folder) descriptor(ctx context.Context, c *uplink.Client, gw gateway.GatewayID, fresh bool) (*tokens.Descriptor, error) {
	name := filepath.Join(f.dir, "gateways", string(gw)+".jws")
	if !fresh {
		if d, err := readDescriptor(name); err == nil && d.Gateway == gw {
			return d, nil
		}
	}
	var got cloud.GatewayDescriptor
	if err := c.Do(ctx, http.MethodGet, "/v1/gateways/"+string(gw), nil, &got); err != nil {
		return nil, notFound(err, gw)
	}
	d, err := tokens.ParseDescriptor(got.Descriptor)
	if err != nil {
		return nil, err
	}
	if d.Gateway != gw {
		return nil, fmt.Errorf("the cloud gave the descriptor of %s for %s", d.Gateway, gw)
	}
	return d, replaceFile(name, []byte(got.Descriptor+"\n"), 0o644)
}

func notFound(err error, gw gateway.GatewayID) error {
	var refused *uplink.StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return fmt.Errorf("gateway %s does not listen to this issuer, or is not at this cloud (\"gardien-issuer fleet\" lists those that do)", gw)
	}
	return err
}

// send writes an item, and keeps it for "resend": it is sealed, so nobody but the gateway
// can read it.
func (to *target) send(ctx context.Context, i gateway.Item) error {
	if i.Kind != gateway.ItemCommand {
		b, err := json.Marshal(i)
		if err == nil {
			err = replaceFile(filepath.Join(to.dir, "sent", string(to.descriptor.Gateway), i.ID), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return to.write(ctx, i)
}

// write writes an item, again and again for half a minute: a write that arrives twice is
// one. Where the cloud asks for more than is left of that, nothing is waited for.
func (to *target) write(ctx context.Context, i gateway.Item) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	path := "/v1/gateways/" + string(to.descriptor.Gateway) + "/items/" + i.ID
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		err := to.cloud.Do(ctx, http.MethodPut, path, cloud.ItemWrite{Kind: i.Kind, Ver: i.Ver, Exp: i.Exp, Body: i.Body}, nil)
		var refused *uplink.StatusError
		final := errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests
		if err == nil || final || i.Kind == gateway.ItemCommand {
			return notFound(err, to.descriptor.Gateway)
		}
		pause := wait
		if refused != nil {
			pause = max(wait, refused.RetryAfter)
		}
		err = fmt.Errorf("it is signed and not sent: %w; run the command again with the same --jti", err)
		if end, _ := ctx.Deadline(); time.Until(end) < pause {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// sendGrant sends a grant, and a new manifest where the gateway gets those.
func (to *target) sendGrant(ctx context.Context, g gateway.Grant, text string) error {
	err := to.send(ctx, gateway.Item{ID: gateway.ItemID(to.id, g.ID.JTI), Kind: gateway.ItemGrant, Ver: g.Version, Exp: gateway.Midnight(g.NotAfter.Unix()), Body: text})
	if err != nil {
		return err
	}
	life, ok := to.manifestLife()
	if !ok {
		return nil
	}
	return to.sendManifest(ctx, life)
}

// manifestFile holds how long the gateway's manifests are good; it is there once the
// gateway has got one.
func (to *target) manifestFile() string {
	return filepath.Join(to.dir, "manifests", string(to.descriptor.Gateway))
}

func (to *target) manifestLife() (time.Duration, bool) {
	b, err := os.ReadFile(to.manifestFile())
	if err != nil {
		return 0, false
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(b)))
	return d, err == nil
}

func (to *target) sendManifest(ctx context.Context, life time.Duration) error {
	m, text, err := to.signManifest(life)
	if err != nil {
		return err
	}
	if err := replaceFile(to.manifestFile(), []byte(life.String()+"\n"), 0o600); err != nil {
		return err
	}
	return to.send(ctx, gateway.Item{ID: gateway.ItemID(to.id, tokens.JTIManifest), Kind: gateway.ItemManifest, Ver: m.Version, Exp: m.NextUpdate.Unix(), Body: text})
}

func (to *target) signManifest(life time.Duration) (gateway.Manifest, string, error) {
	m, err := to.manifest(to.descriptor.Gateway, time.Now(), life)
	if err != nil {
		return m, "", err
	}
	text, err := tokens.SignManifest(to.key, to.descriptor.Gateway, m)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypManifest, to.descriptor.Seal)
	}
	return m, text, err
}

// fleet lists the gateways that listen to the issuer.
func (f *folder) fleet(ctx context.Context, c *uplink.Client) ([]gateway.Member, error) {
	var list cloud.Fleet
	err := c.Do(ctx, http.MethodGet, "/v1/issuers/"+string(f.id)+"/gateways", nil, &list)
	return list.Gateways, err
}

func (t *tool) enrolCmd() *cobra.Command {
	var key string
	var at cloudAt
	cmd := &cobra.Command{Use: "enrol --key DIR --cloud URL CODE", Short: "Enrol at a cloud, once", Args: cobra.ExactArgs(1),
		Long: `enrol registers the issuer's public keys at a cloud with a one-time code of its operator
("gardien-cloud code issuer ID"). From then on commands reach gateways by their id.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := openFolder(key)
			if err != nil {
				return err
			}
			if at.URL == "" {
				return usage("--cloud URL: name the cloud, as in https://cloud.example")
			}
			if at.CA != "" {
				if at.CA, err = filepath.Abs(at.CA); err != nil {
					return err
				}
			}
			c, err := f.client(at)
			if err != nil {
				return err
			}
			jwks, err := os.ReadFile(filepath.Join(f.dir, "jwks.json"))
			if err != nil {
				return err
			}
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/issuers", cloud.IssuerEnrolment{Code: args[0], Iss: f.id, JWKS: jwks}, nil); err != nil {
				return err
			}
			b, err := json.Marshal(at)
			if err == nil {
				err = replaceFile(filepath.Join(f.dir, "cloud.json"), append(b, '\n'), 0o644)
			}
			if err != nil {
				return err
			}
			return t.print(map[string]string{"id": string(f.id), "cloud": at.URL}, func() { fmt.Fprintf(t.out, "%s is enrolled at %s\n", f.id, at.URL) })
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	cmd.Flags().StringVar(&at.URL, "cloud", "", "the cloud's address")
	cmd.Flags().StringVar(&at.CA, "ca", "", "PEM file of the cloud's own certificate authority (default: the system's)")
	return cmd
}

// connected opens a folder and its cloud.
func connected(key string) (*folder, *uplink.Client, error) {
	f, err := openFolder(key)
	if err != nil {
		return nil, nil, err
	}
	c, err := f.connect()
	return f, c, err
}

func (t *tool) fleetCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "fleet --key DIR", Short: "The gateways that listen to the issuer, and where they stand", Args: cobra.NoArgs,
		Long: `fleet lists gateways: whether each is online and since when, its doors, and how many
changes of its mailbox it is not known to have yet, with the age of that knowledge.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, c, err := connected(key)
			if err != nil {
				return err
			}
			list, err := f.fleet(cmd.Context(), c)
			if err != nil {
				return err
			}
			for _, m := range list {
				if t.json {
					if err := json.NewEncoder(t.out).Encode(m); err != nil {
						return err
					}
					continue
				}
				doors := "?"
				if d, err := tokens.ParseDescriptor(m.Descriptor); err == nil {
					doors = fmt.Sprint(d.Doors)
				}
				state := "offline"
				if m.Online {
					state = "online"
				}
				fmt.Fprintf(t.out, "%s  %-7s since %s  doors %s  %d behind, as of %s\n", m.Gateway, state, or(m.At, "never"), doors, m.Head-m.Position, or(m.PositionAt, "never"))
			}
			return nil
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	return cmd
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
)

// Gateway is one, and the way to it.
type Gateway struct {
	*Folder
	Descriptor *tokens.Descriptor

	cloud *uplink.Client // nil: documents are handed over
}

var errByHand = errors.New("documents are carried to this gateway by hand: sign them")

// ByHand is a gateway to which somebody carries documents.
func (f *Folder) ByHand(d *tokens.Descriptor) *Gateway { return &Gateway{f, d, nil} }

// ByCloud reports whether documents go by the cloud.
func (to *Gateway) ByCloud() bool { return to.cloud != nil }

// ReadDescriptor verifies the file of a gateway's descriptor.
func ReadDescriptor(name string) (*tokens.Descriptor, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	d, err := tokens.ParseDescriptor(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// Sign writes a grant and remembers it. What crosses the cloud is sealed; a PIN must have a length
// that the doors take.
func (to *Gateway) Sign(g gateway.Grant, seal bool) (string, error) {
	gw := to.Descriptor
	if err := to.checkPIN(g); err != nil {
		return "", err
	}
	text, err := tokens.SignGrant(to.signingKey(), gw.Gateway, g)
	if err != nil {
		return "", err
	}
	if seal || to.ByCloud() {
		if text, err = tokens.Seal(text, tokens.TypGrant, gw.Seal); err != nil {
			return "", err
		}
	}
	return text, to.remember(Issued{gw.Gateway, g.ID.JTI, g.Version, g.Status, g.Doors, g.NotBefore.Unix(), g.NotAfter.Unix(), g.Uses, g.Sub})
}

// Revocation is the next version of a grant, which ends it.
func (to *Gateway) Revocation(jti string) (gateway.Grant, error) {
	last, ok, err := to.Latest(to.Descriptor.Gateway, jti)
	if err == nil && !ok {
		err = fmt.Errorf("%s/grants.jsonl has no grant %q for gateway %s", to.Dir, jti, to.Descriptor.Gateway)
	}
	return gateway.Grant{ID: gateway.GrantID{Issuer: to.ID, JTI: jti}, Version: last.Ver + 1, Status: gateway.GrantRevoked, Doors: last.Doors,
		IssuedAt: time.Now().Truncate(time.Second), Uses: last.Uses, Sub: last.Sub,
		Period: gateway.Period{NotBefore: time.Unix(last.NotBefore, 0), NotAfter: time.Unix(last.NotAfter, 0)}}, err
}

// Grant signs a grant and sends it by the cloud.
func (to *Gateway) Grant(ctx context.Context, g gateway.Grant) error {
	text, err := to.Sign(g, true)
	if err != nil {
		return err
	}
	return to.SendGrant(ctx, g, text)
}

// SendGrant sends a grant that was signed, and a new manifest where the gateway gets those.
func (to *Gateway) SendGrant(ctx context.Context, g gateway.Grant, text string) error {
	err := to.send(ctx, gateway.Item{ID: gateway.ItemID(to.ID, g.ID.JTI), Kind: gateway.ItemGrant, Ver: g.Version, Exp: gateway.Midnight(g.NotAfter.Unix()), Body: text})
	if err != nil {
		return err
	}
	life, ok := to.manifestLife()
	if !ok {
		return nil
	}
	return to.SendManifest(ctx, life)
}

// Command signs a command to let somebody in at a door now.
func (to *Gateway) Command(door gateway.DoorID) (m gateway.Command, text string, err error) {
	now := time.Now().Truncate(time.Second)
	m = gateway.Command{Issuer: to.ID, JTI: gateway.NewJTI(), IssuedAt: now, NotAfter: now.Add(gateway.CommandLife), Door: door}
	text, err = tokens.SignCommand(to.signingKey(), to.Descriptor.Gateway, m)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypCommand, to.Descriptor.Seal)
	}
	return m, text, err
}

// SendCommand sends one. Its answer is an event: see Unlock.
func (to *Gateway) SendCommand(ctx context.Context, m gateway.Command, text string) error {
	return to.send(ctx, gateway.Item{ID: gateway.ItemID(to.ID, m.JTI), Kind: gateway.ItemCommand, Ver: 1, Exp: m.NotAfter.Unix(), Body: text})
}

// Unlock sends a command and waits for its event until ctx ends: nil, nil is no answer.
func (to *Gateway) Unlock(ctx context.Context, m gateway.Command, text string) (outcome *gateway.Event, err error) {
	if !to.ByCloud() {
		return nil, errByHand
	}
	opening, err := to.Opening()
	if err != nil {
		return nil, err
	}
	r := &Reader{Carrier: &Carrier{to.Folder, to.cloud}, Opening: opening}
	listening := false
	err = r.Read(ctx, "head", func(name string, d Delivered) error {
		if name == "head" && !listening {
			listening = true
			return to.SendCommand(ctx, m, text) // the stream is open: no answer passes unseen
		}
		var e gateway.Event
		if name != "event" || json.Unmarshal(d.Event, &e) != nil || e.Grant != m.JTI {
			return nil
		}
		if e.Type == gateway.AccessGranted || e.Type == gateway.AccessDenied {
			outcome = &e
			return ErrDone
		}
		return nil
	})
	if outcome != nil || ctx.Err() != nil {
		return outcome, nil
	}
	return nil, err
}

// manifestFile holds how long the gateway's manifests are good; it is there once the
// gateway has got one.
func (to *Gateway) manifestFile() string {
	return filepath.Join(to.Dir, "manifests", string(to.Descriptor.Gateway))
}

func (to *Gateway) manifestLife() (time.Duration, bool) {
	b, err := os.ReadFile(to.manifestFile())
	if err != nil {
		return 0, false
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(b)))
	return d, err == nil
}

// SendManifest says which grants the gateway must have; the next is due within life.
func (to *Gateway) SendManifest(ctx context.Context, life time.Duration) error {
	m, text, err := to.SignManifest(life)
	if err != nil {
		return err
	}
	if err := replaceFile(to.manifestFile(), []byte(life.String()+"\n"), 0o600); err != nil {
		return err
	}
	return to.send(ctx, gateway.Item{ID: gateway.ItemID(to.ID, tokens.JTIManifest), Kind: gateway.ItemManifest, Ver: m.Version, Exp: m.NextUpdate.Unix(), Body: text})
}

// SignManifest is SendManifest for whoever carries it.
func (to *Gateway) SignManifest(life time.Duration) (gateway.Manifest, string, error) {
	m, err := to.manifest(to.Descriptor.Gateway, time.Now(), life)
	if err != nil {
		return m, "", err
	}
	text, err := tokens.SignManifest(to.signingKey(), to.Descriptor.Gateway, m)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypManifest, to.Descriptor.Seal)
	}
	return m, text, err
}

// send writes an item, and keeps it for Resend: it is sealed, so nobody but the gateway
// can read it.
func (to *Gateway) send(ctx context.Context, i gateway.Item) error {
	if !to.ByCloud() {
		return errByHand
	}
	if i.Kind != gateway.ItemCommand {
		b, err := json.Marshal(i)
		if err == nil {
			err = replaceFile(filepath.Join(to.Dir, "sent", string(to.Descriptor.Gateway), i.ID), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return to.write(ctx, i)
}

// write writes an item, again and again for half a minute: a write that arrives twice is
// one. Where the cloud asks for more than is left of that, nothing is waited for.
func (to *Gateway) write(ctx context.Context, i gateway.Item) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	path := "/v1/gateways/" + string(to.Descriptor.Gateway) + "/items/" + i.ID
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		err := to.cloud.Do(ctx, http.MethodPut, path, cloud.ItemWrite{Kind: i.Kind, Ver: i.Ver, Exp: i.Exp, Body: i.Body}, nil)
		var refused *uplink.StatusError
		final := errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests
		if err == nil || final || i.Kind == gateway.ItemCommand {
			return notFound(err, to.Descriptor.Gateway)
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

package carrier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
)

const nextFile = "private.next.jwk"

// Rotate changes to a new signing key, everywhere: each gateway of the fleet gets it signed by the
// present one, then the cloud, and from then on the folder signs with it. It can be run again
// where it was cut off.
func (c *Carrier) Rotate(ctx context.Context) (kid string, gateways int, err error) {
	next, err := c.nextKey()
	if err != nil {
		return "", 0, err
	}
	opening, err := c.Opening()
	if err != nil {
		return "", 0, err
	}
	jwks, err := tokens.MarshalKeySet(next.PublicKey, &opening.PublicKey, c.signingKey().PublicKey)
	if err != nil {
		return "", 0, err
	}
	list, err := c.Fleet(ctx)
	if err != nil {
		return "", 0, err
	}
	for n, m := range list {
		if err := c.sendKeys(ctx, m, jwks); err != nil {
			return "", n, fmt.Errorf("%s: %w; %d of %d gateways have the new key; run the command again", m.Gateway, err, n, len(list))
		}
	}
	if err := c.cloud.Do(ctx, http.MethodPut, "/v1/issuers/"+string(c.ID), cloud.IssuerUpdate{JWKS: jwks}, nil); err != nil {
		return "", len(list), err
	}
	err = errors.Join(replaceFile(filepath.Join(c.Dir, "jwks.json"), append(jwks, '\n'), 0o644),
		os.Rename(filepath.Join(c.Dir, nextFile), filepath.Join(c.Dir, "private.jwk")))
	if err == nil {
		c.key.Store(next)
		c.cloud.KeyChanged()
	}
	return next.KeyID(), len(list), err
}

// nextKey makes the next key, or takes the one of a rotation that was cut off.
func (f *Folder) nextKey() (*tokens.SigningKey, error) {
	name := filepath.Join(f.Dir, nextFile)
	if b, err := os.ReadFile(name); err == nil {
		return tokens.ParseSigningKey(b)
	}
	next, err := tokens.GenerateES256()
	if err != nil {
		return nil, err
	}
	b, err := next.Marshal()
	if err == nil {
		err = tokens.WriteFile(name, b)
	}
	return next, err
}

func (c *Carrier) sendKeys(ctx context.Context, m gateway.Member, jwks []byte) error {
	d, err := tokens.ParseDescriptor(m.Descriptor)
	if err != nil {
		return err
	}
	to := &Gateway{c.Folder, d, c.cloud}
	now := time.Now()
	k := gateway.KeyRing{Issuer: c.ID, Version: now.UnixMilli(), IssuedAt: now.Truncate(time.Second), JWKS: jwks}
	text, err := tokens.SignKeys(c.signingKey(), d.Gateway, k)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypKeys, d.Seal)
	}
	if err != nil {
		return err
	}
	return to.send(ctx, gateway.Item{ID: gateway.ItemID(c.ID, tokens.JTIKeys), Kind: gateway.ItemKeys, Ver: k.Version,
		Exp: k.IssuedAt.AddDate(1, 0, 0).Unix(), Body: text})
}

// Manifests sends every gateway of the fleet its manifest; one that fails stops no other.
func (c *Carrier) Manifests(ctx context.Context, life time.Duration) (sent int, err error) {
	list, err := c.Fleet(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, m := range list {
		d, err := tokens.ParseDescriptor(m.Descriptor)
		if err == nil {
			err = (&Gateway{c.Folder, d, c.cloud}).SendManifest(ctx, life)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Gateway, err))
			continue
		}
		sent++
	}
	return sent, errors.Join(errs...)
}

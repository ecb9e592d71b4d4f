package carrier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
)

// At is cloud.json: where the issuer is enrolled.
type At struct {
	URL string `json:"url"`
	CA  string `json:"ca,omitempty"` // PEM file of its authority; "": the system's
}

// Dial reaches a cloud; nil is the system's network.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Carrier is an issuer with its cloud.
type Carrier struct {
	*Folder
	cloud *uplink.Client
}

// ErrAddress says that a cloud's address is none.
var ErrAddress = errors.New("want the cloud's address as in https://cloud.example")

// Connect takes the cloud where the folder is enrolled. Nothing is sent yet.
func (f *Folder) Connect(dial Dial) (*Carrier, error) {
	b, err := os.ReadFile(filepath.Join(f.Dir, "cloud.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not enrolled at a cloud: gardien-issuer enrol --key %s --cloud URL CODE; or name the file of a gateway's descriptor", f.Dir, f.Dir)
	}
	if err != nil {
		return nil, err
	}
	var at At
	if err := json.Unmarshal(b, &at); err != nil {
		return nil, fmt.Errorf("%s/cloud.json: %w", f.Dir, err)
	}
	c, err := f.connect(at, dial)
	if err != nil {
		return nil, fmt.Errorf("%s/cloud.json: %w", f.Dir, err)
	}
	return c, nil
}

func (f *Folder) connect(at At, dial Dial) (*Carrier, error) {
	u, err := url.Parse(at.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || !gateway.IsOrigin(*u) {
		return nil, fmt.Errorf("%q: %w", at.URL, ErrAddress)
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
	client := uplink.NewClient(uplink.ClientOpts{URL: u, TLS: config, Dial: dial, Sign: func(now time.Time) (string, error) {
		return tokens.SignAssertion(f.signingKey(), string(f.ID), gateway.Origin(u), now)
	}})
	return &Carrier{f, client}, nil
}

// Enrol registers the issuer's keys at a cloud with a one-time code, and remembers where.
func (f *Folder) Enrol(ctx context.Context, at At, code string, dial Dial) (*Carrier, error) {
	c, err := f.connect(at, dial)
	if err != nil {
		return nil, err
	}
	jwks, err := os.ReadFile(filepath.Join(f.Dir, "jwks.json"))
	if err != nil {
		return nil, err
	}
	if err := c.cloud.Do(ctx, http.MethodPost, "/v1/issuers", cloud.IssuerEnrolment{Code: code, Iss: f.ID, JWKS: jwks}, nil); err != nil {
		return nil, err
	}
	b, err := json.Marshal(at)
	if err == nil {
		err = replaceFile(filepath.Join(f.Dir, "cloud.json"), append(b, '\n'), 0o644)
	}
	return c, err
}

// Close closes idle connections.
func (c *Carrier) Close() { c.cloud.Close() }

// Fleet lists the gateways that listen to the issuer.
func (c *Carrier) Fleet(ctx context.Context) ([]gateway.Member, error) {
	var list cloud.Fleet
	err := c.cloud.Do(ctx, http.MethodGet, "/v1/issuers/"+string(c.ID)+"/gateways", nil, &list)
	return list.Gateways, err
}

// Gateway finds one at the cloud.
func (c *Carrier) Gateway(ctx context.Context, id gateway.GatewayID) (*Gateway, error) {
	d, err := c.descriptor(ctx, id, true)
	return &Gateway{c.Folder, d, c.cloud}, err
}

// descriptor gets a gateway's descriptor from the cloud, or from the folder where a copy
// will do. Its id is that of its key, so the cloud cannot make one up.
func (c *Carrier) descriptor(ctx context.Context, gw gateway.GatewayID, fresh bool) (*tokens.Descriptor, error) {
	name := filepath.Join(c.Dir, "gateways", string(gw)+".jws")
	if !fresh {
		if d, err := ReadDescriptor(name); err == nil && d.Gateway == gw {
			return d, nil
		}
	}
	var got cloud.GatewayDescriptor
	if err := c.cloud.Do(ctx, http.MethodGet, "/v1/gateways/"+string(gw), nil, &got); err != nil {
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

// Resend writes every item that was sent, and is not over, once more. What the cloud still has
// stays as it is. progress is told how many of how many are done.
func (c *Carrier) Resend(ctx context.Context, progress func(done, all int)) (sent int, err error) {
	names, err := filepath.Glob(filepath.Join(c.Dir, "sent", "*", "*"))
	if err != nil {
		return 0, err
	}
	for n, name := range names {
		var i gateway.Item
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &i)
		}
		if err != nil {
			return sent, fmt.Errorf("%s: %w", name, err)
		}
		if i.Exp < time.Now().Unix() {
			os.Remove(name)
			continue
		}
		gw := gateway.GatewayID(filepath.Base(filepath.Dir(name)))
		to := &Gateway{c.Folder, &tokens.Descriptor{Gateway: gw}, c.cloud}
		var refused *uplink.StatusError
		if err := to.write(ctx, i); errors.As(err, &refused) && refused.Status == http.StatusConflict {
			continue // it has a newer one
		} else if err != nil {
			return sent, fmt.Errorf("%w; %d of %d were sent: run the command again", err, n, len(names))
		}
		if sent++; sent%500 == 0 {
			progress(n+1, len(names))
		}
	}
	return sent, nil
}

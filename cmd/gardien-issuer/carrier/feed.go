package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"gardien/gateway"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/gateway/web"
)

// Delivered is one event as the issuer reads it.
type Delivered struct {
	Seq     int64             `json:"seq"`
	Gateway gateway.GatewayID `json:"gateway"`
	Log     string            `json:"log,omitempty"`
	Event   json.RawMessage   `json:"event,omitempty"`
	Online  *bool             `json:"online,omitempty"` // presence
	At      string            `json:"at,omitempty"`
}

// Reader reads the issuer's feed.
type Reader struct {
	*Carrier
	Opening *tokens.OpeningKey
	// PassedBy is told of an event that cannot be read, and holds no other up; nil: nobody is.
	PassedBy func(gateway.Delivered, error)
}

// ErrDone ends a reading.
var ErrDone = errors.New("done")

// Read reads the feed once, from a place on ("head": from what is to come), until it ends or f
// fails. f gets "event", "presence", "head" and others of the cloud's, and "passed" for what cannot
// be read.
func (r *Reader) Read(ctx context.Context, after string, f func(name string, d Delivered) error) error {
	return r.cloud.Stream(ctx, "/v1/issuers/"+string(r.ID)+"/feed?after="+url.QueryEscape(after), func(e web.Event) error {
		switch e.Name {
		case "event":
			var l gateway.Delivered
			if err := json.Unmarshal(e.Data, &l); err != nil {
				return fmt.Errorf("%w: %v", uplink.ErrNotOurCloud, err)
			}
			m, err := tokens.OpenEvent(r.Opening, r.ID, l.Body, func(gw gateway.GatewayID) (tokens.KeySet, error) {
				d, err := r.descriptor(ctx, gw, false)
				if err != nil {
					return tokens.KeySet{}, err
				}
				return d.Keys, nil
			})
			if err != nil {
				if r.PassedBy != nil {
					r.PassedBy(l, err)
				}
				return f("passed", Delivered{Seq: l.Seq})
			}
			return f("event", Delivered{Seq: l.Seq, Gateway: m.Gateway, Log: m.Log, Event: m.Event})
		case "presence":
			var p gateway.Presence
			if err := json.Unmarshal(e.Data, &p); err != nil {
				return fmt.Errorf("%w: %v", uplink.ErrNotOurCloud, err)
			}
			return f("presence", Delivered{Gateway: p.Gateway, Online: &p.Online, At: p.At})
		}
		return f(e.Name, Delivered{})
	})
}

// Watched is watch.json: how far events were read.
type Watched struct {
	After int64 `json:"after"`
}

// ReadWatched reads it.
func (f *Folder) ReadWatched() (w Watched, err error) {
	b, err := os.ReadFile(filepath.Join(f.Dir, "watch.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &w)
	}
	return w, err
}

// SaveWatched writes it.
func (f *Folder) SaveWatched(w Watched) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(f.Dir, "watch.json"), b, 0o600)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
)

func (t *tool) unlockCmd() *cobra.Command {
	var key, gw, door string
	var wait time.Duration
	cmd := &cobra.Command{Use: "unlock --gateway FILE|ID --key DIR --door DOOR", Short: "Unlock a door now, and wait for the answer", Args: cobra.NoArgs,
		Long: `unlock signs a command that is good once and for 30 seconds. The resident must allow it
(remote_unlock in the issuer's policy). With the gateway's id it goes by the cloud, and
the gateway's answer is waited for: nothing is queued for later, and no answer means
that nobody was reached in time. With the descriptor's file the command is printed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			to, err := t.target(cmd.Context(), key, gw)
			if err != nil {
				return err
			}
			if !gateway.DoorID(door).Valid() {
				return usage("--door: name a door; the gateway has %v", to.descriptor.Doors)
			}
			now := time.Now().Truncate(time.Second)
			m := gateway.Command{Issuer: to.id, JTI: gateway.NewJTI(), IssuedAt: now, NotAfter: now.Add(gateway.CommandLife), Door: gateway.DoorID(door)}
			text, err := tokens.SignCommand(to.key, to.descriptor.Gateway, m)
			if err == nil {
				text, err = tokens.Seal(text, tokens.TypCommand, to.descriptor.Seal)
			}
			if err != nil {
				return err
			}
			if to.cloud == nil {
				return t.hand(document{ID: string(m.Issuer) + "/" + m.JTI, Grant: text})
			}
			return t.unlock(cmd.Context(), to, m, text, wait)
		}}
	t.targetFlags(cmd, &key, &gw)
	cmd.Flags().StringVar(&door, "door", "", "the door")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for the answer; 0 does not")
	return cmd
}

// unlock sends the command and waits for its event.
func (t *tool) unlock(ctx context.Context, to *target, m gateway.Command, text string, wait time.Duration) error {
	item := gateway.Item{ID: gateway.ItemID(to.id, m.JTI), Kind: gateway.ItemCommand, Ver: 1, Exp: m.NotAfter.Unix(), Body: text}
	if wait <= 0 {
		if err := to.send(ctx, item); err != nil {
			return err
		}
		return t.print(document{ID: string(m.Issuer) + "/" + m.JTI}, func() { fmt.Fprintf(t.out, "sent to %s\n", to.descriptor.Gateway) })
	}
	opening, err := to.opening()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	w := &watcher{folder: to.folder, cloud: to.cloud, opening: opening}
	var outcome *gateway.Event
	listening := false
	err = w.stream(ctx, "head", func(name string, d delivered) error {
		if name == "head" && !listening {
			listening = true
			return to.send(ctx, item) // the stream is open: no answer passes unseen
		}
		var e gateway.Event
		if name != "event" || json.Unmarshal(d.Event, &e) != nil || e.Grant != m.JTI {
			return nil
		}
		if e.Type == gateway.AccessGranted || e.Type == gateway.AccessDenied {
			outcome = &e
			return errDone
		}
		return nil
	})
	switch {
	case outcome == nil && ctx.Err() != nil:
		return fmt.Errorf("gateway %s did not answer within %s: it was not reached, and the command is over in %s",
			to.descriptor.Gateway, wait, time.Until(m.NotAfter).Round(time.Second))
	case outcome == nil:
		return err
	}
	if err := t.print(outcome, func() { fmt.Fprintf(t.out, "%s %s at %s\n", outcome.Type, outcome.Door, outcome.At) }); err != nil {
		return err
	}
	if outcome.Type == gateway.AccessDenied {
		return fmt.Errorf("denied: %s", outcome.Reason)
	}
	return nil
}

func (t *tool) manifestCmd() *cobra.Command {
	var key, gw string
	var every, life time.Duration
	cmd := &cobra.Command{Use: "manifest --key DIR [--gateway FILE|ID]", Short: "Say which grants there are, so that none can be withheld; --every keeps saying it", Args: cobra.NoArgs,
		Long: `manifest signs how many active grants a gateway must have, and which. A gateway that has
others records it at once. Once it has got a manifest, its offline_limit counts from the
newest one: keep a renewing service running (--every), or the grants go stale when the
limit is over. Without --gateway all gateways of the fleet get theirs.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if life < time.Minute || every < 0 || every > 0 && every >= life {
				return usage("--next-update: want at least 1m, and more than --every")
			}
			for {
				n, err := t.manifests(cmd.Context(), key, gw, life)
				if err != nil && every == 0 {
					return err
				}
				if every == 0 {
					return nil
				}
				fmt.Fprintf(t.errOut, "%s  %d manifests sent, the next in %s\n", time.Now().Format(time.RFC3339), n, every)
				wait := every
				if err != nil {
					fmt.Fprintln(t.errOut, "gardien-issuer:", err)
					wait = min(every, time.Minute)
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(wait):
				}
			}
		}}
	t.targetFlags(cmd, &key, &gw)
	cmd.Flags().DurationVar(&every, "every", 0, "go on, and renew as often as this, as in 6h")
	cmd.Flags().DurationVar(&life, "next-update", 24*time.Hour, "when the next manifest is due at the latest")
	return cmd
}

// manifests sends or prints manifests; one gateway that fails stops no other.
func (t *tool) manifests(ctx context.Context, key, gw string, life time.Duration) (n int, err error) {
	if gw != "" {
		to, err := t.target(ctx, key, gw)
		if err != nil {
			return 0, err
		}
		if to.cloud != nil {
			return 1, to.sendManifest(ctx, life)
		}
		m, text, err := to.signManifest(life)
		if err != nil {
			return 0, err
		}
		return 1, t.print(map[string]any{"id": string(m.Issuer) + "/" + tokens.JTIManifest, "manifest": text, "count": m.Count}, func() { fmt.Fprintln(t.out, text) })
	}
	f, c, err := connected(key)
	if err != nil {
		return 0, err
	}
	list, err := f.fleet(ctx, c)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, m := range list {
		d, err := tokens.ParseDescriptor(m.Descriptor)
		if err == nil {
			err = (&target{f, d, c}).sendManifest(ctx, life)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Gateway, err))
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

func (t *tool) rotateCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "rotate --key DIR", Short: "Change to a new signing key, everywhere", Args: cobra.NoArgs,
		Long: `rotate makes a new signing key and sends it to every gateway of the fleet, signed by the
present one, then to the cloud, and from then on signs with it. The old key stays valid
until the next rotation, for what is on its way. It can be run again where it was cut
off. Gateways without the cloud need the new jwks.json.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, c, err := connected(key)
			if err != nil {
				return err
			}
			next, err := f.nextKey()
			if err != nil {
				return err
			}
			opening, err := f.opening()
			if err != nil {
				return err
			}
			jwks, err := tokens.MarshalKeySet(next.PublicKey, &opening.PublicKey, f.key.PublicKey)
			if err != nil {
				return err
			}
			list, err := f.fleet(cmd.Context(), c)
			if err != nil {
				return err
			}
			for n, m := range list {
				if err := f.sendKeys(cmd.Context(), &target{f, nil, c}, m, jwks); err != nil {
					return fmt.Errorf("%s: %w; %d of %d gateways have the new key; run the command again", m.Gateway, err, n, len(list))
				}
			}
			if err := c.Do(cmd.Context(), http.MethodPut, "/v1/issuers/"+string(f.id), cloud.IssuerUpdate{JWKS: jwks}, nil); err != nil {
				return err
			}
			err = errors.Join(replaceFile(filepath.Join(f.dir, "jwks.json"), append(jwks, '\n'), 0o644),
				os.Rename(filepath.Join(f.dir, nextFile), filepath.Join(f.dir, "private.jwk")))
			if err != nil {
				return err
			}
			return t.print(map[string]any{"kid": next.KeyID(), "gateways": len(list)}, func() {
				fmt.Fprintf(t.out, "key %s, sent to %d gateways\n", next.KeyID(), len(list))
			})
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	return cmd
}

const nextFile = "private.next.jwk"

// nextKey makes the next key, or takes the one of a rotation that was cut off.
func (f *folder) nextKey() (*tokens.SigningKey, error) {
	name := filepath.Join(f.dir, nextFile)
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

func (f *folder) sendKeys(ctx context.Context, to *target, m gateway.Member, jwks []byte) (err error) {
	if to.descriptor, err = tokens.ParseDescriptor(m.Descriptor); err != nil {
		return err
	}
	now := time.Now()
	k := gateway.KeyRing{Issuer: f.id, Version: now.UnixMilli(), IssuedAt: now.Truncate(time.Second), JWKS: jwks}
	text, err := tokens.SignKeys(f.key, to.descriptor.Gateway, k)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypKeys, to.descriptor.Seal)
	}
	if err != nil {
		return err
	}
	return to.send(ctx, gateway.Item{ID: gateway.ItemID(f.id, tokens.JTIKeys), Kind: gateway.ItemKeys, Ver: k.Version,
		Exp: k.IssuedAt.AddDate(1, 0, 0).Unix(), Body: text})
}

func (t *tool) resendCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "resend --key DIR", Short: "Send all that is not over again: after the cloud was restored from a backup", Args: cobra.NoArgs,
		Long: `resend writes every item that was sent, and is not over, once more. What the cloud still has
stays as it is. Run it when the cloud's operator says that a backup was restored.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, c, err := connected(key)
			if err != nil {
				return err
			}
			names, err := filepath.Glob(filepath.Join(f.dir, "sent", "*", "*"))
			if err != nil {
				return err
			}
			sent := 0
			for n, name := range names {
				var i gateway.Item
				b, err := os.ReadFile(name)
				if err == nil {
					err = json.Unmarshal(b, &i)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if i.Exp < time.Now().Unix() {
					os.Remove(name)
					continue
				}
				gw := gateway.GatewayID(filepath.Base(filepath.Dir(name)))
				to := &target{f, &tokens.Descriptor{Gateway: gw}, c}
				var refused *uplink.StatusError
				if err := to.write(cmd.Context(), i); errors.As(err, &refused) && refused.Status == http.StatusConflict {
					continue // it has a newer one
				} else if err != nil {
					return fmt.Errorf("%w; %d of %d were sent: run the command again", err, n, len(names))
				}
				sent++
				if sent%500 == 0 {
					fmt.Fprintf(t.errOut, "%d of %d\n", n+1, len(names))
				}
			}
			return t.print(map[string]int{"sent": sent}, func() { fmt.Fprintf(t.out, "%d items are at the cloud\n", sent) })
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	return cmd
}

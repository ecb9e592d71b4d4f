package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/tokens"
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
			to, err := target(cmd.Context(), key, gw)
			if err != nil {
				return err
			}
			if !gateway.DoorID(door).Valid() {
				return usage("--door: name a door; the gateway has %v", to.Descriptor.Doors)
			}
			m, text, err := to.Command(gateway.DoorID(door))
			if err != nil {
				return err
			}
			if !to.ByCloud() {
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
func (t *tool) unlock(ctx context.Context, to *carrier.Gateway, m gateway.Command, text string, wait time.Duration) error {
	if wait <= 0 {
		if err := to.SendCommand(ctx, m, text); err != nil {
			return err
		}
		return t.print(document{ID: string(m.Issuer) + "/" + m.JTI}, func() { fmt.Fprintf(t.out, "sent to %s\n", to.Descriptor.Gateway) })
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	outcome, err := to.Unlock(ctx, m, text)
	if err != nil {
		return err
	}
	if outcome == nil {
		return fmt.Errorf("gateway %s did not answer within %s: it was not reached, and the command is over in %s",
			to.Descriptor.Gateway, wait, time.Until(m.NotAfter).Round(time.Second))
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

// manifests sends or prints manifests.
func (t *tool) manifests(ctx context.Context, key, gw string, life time.Duration) (n int, err error) {
	if gw == "" {
		c, err := connected(key)
		if err != nil {
			return 0, err
		}
		return c.Manifests(ctx, life)
	}
	to, err := target(ctx, key, gw)
	if err != nil {
		return 0, err
	}
	if to.ByCloud() {
		return 1, to.SendManifest(ctx, life)
	}
	m, text, err := to.SignManifest(life)
	if err != nil {
		return 0, err
	}
	return 1, t.print(map[string]any{"id": string(m.Issuer) + "/" + tokens.JTIManifest, "manifest": text, "count": m.Count}, func() { fmt.Fprintln(t.out, text) })
}

func (t *tool) rotateCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "rotate --key DIR", Short: "Change to a new signing key, everywhere", Args: cobra.NoArgs,
		Long: `rotate makes a new signing key and sends it to every gateway of the fleet, signed by the
present one, then to the cloud, and from then on signs with it. The old key stays valid
until the next rotation, for what is on its way. It can be run again where it was cut
off. Gateways without the cloud need the new jwks.json.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connected(key)
			if err != nil {
				return err
			}
			kid, n, err := c.Rotate(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(map[string]any{"kid": kid, "gateways": n}, func() { fmt.Fprintf(t.out, "key %s, sent to %d gateways\n", kid, n) })
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	return cmd
}

func (t *tool) resendCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "resend --key DIR", Short: "Send all that is not over again: after the cloud was restored from a backup", Args: cobra.NoArgs,
		Long: `resend writes every item that was sent, and is not over, once more. What the cloud still has
stays as it is. Run it when the cloud's operator says that a backup was restored.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connected(key)
			if err != nil {
				return err
			}
			sent, err := c.Resend(cmd.Context(), func(done, all int) { fmt.Fprintf(t.errOut, "%d of %d\n", done, all) })
			if err != nil {
				return err
			}
			return t.print(map[string]int{"sent": sent}, func() { fmt.Fprintf(t.out, "%d items are at the cloud\n", sent) })
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	return cmd
}

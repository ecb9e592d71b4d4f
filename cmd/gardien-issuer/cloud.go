package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/tokens"
)

// open opens the folder that --key names.
func open(key string) (*carrier.Folder, error) {
	if key == "" {
		return nil, usage("--key DIR: name the folder that keygen made")
	}
	return carrier.Open(key)
}

// connected opens a folder and its cloud.
func connected(key string) (*carrier.Carrier, error) {
	f, err := open(key)
	if err != nil {
		return nil, err
	}
	return f.Connect(nil)
}

// target finds a gateway by its id, at the cloud, or by its descriptor's file.
func target(ctx context.Context, key, gw string) (*carrier.Gateway, error) {
	f, err := open(key)
	switch {
	case err != nil:
		return nil, err
	case gw == "":
		return nil, usage("--gateway FILE: name the gateway's descriptor (\"gardien descriptor\" prints it)")
	case !gateway.GatewayID(gw).Valid():
		d, err := carrier.ReadDescriptor(gw)
		if err != nil {
			return nil, err
		}
		return f.ByHand(d), nil
	}
	c, err := f.Connect(nil)
	if err != nil {
		return nil, err
	}
	return c.Gateway(ctx, gateway.GatewayID(gw))
}

func (t *tool) enrolCmd() *cobra.Command {
	var key string
	var at carrier.At
	cmd := &cobra.Command{Use: "enrol --key DIR --cloud URL CODE", Short: "Enrol at a cloud, once", Args: cobra.ExactArgs(1),
		Long: `enrol registers the issuer's public keys at a cloud with a one-time code of its operator
("gardien-cloud code issuer ID"). From then on commands reach gateways by their id.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := open(key)
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
			if _, err := f.Enrol(cmd.Context(), at, args[0], nil); errors.Is(err, carrier.ErrAddress) {
				return usage("--cloud %v", err)
			} else if err != nil {
				return err
			}
			return t.print(map[string]string{"id": string(f.ID), "cloud": at.URL}, func() { fmt.Fprintf(t.out, "%s is enrolled at %s\n", f.ID, at.URL) })
		}}
	cmd.Flags().StringVar(&key, "key", "", "the folder that keygen made")
	cmd.Flags().StringVar(&at.URL, "cloud", "", "the cloud's address")
	cmd.Flags().StringVar(&at.CA, "ca", "", "PEM file of the cloud's own certificate authority (default: the system's)")
	return cmd
}

func (t *tool) fleetCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "fleet --key DIR", Short: "The gateways that listen to the issuer, and where they stand", Args: cobra.NoArgs,
		Long: `fleet lists gateways: whether each is online and since when, its doors, and how many
changes of its mailbox it is not known to have yet, with the age of that knowledge.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connected(key)
			if err != nil {
				return err
			}
			list, err := c.Fleet(cmd.Context())
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

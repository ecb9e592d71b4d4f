package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
	"rsc.io/qr"

	"gardien/gateway"
	"gardien/gateway/api"
)

// pairing lets devices in among the residents'.
type pairing struct{ *tool }

func (t pairing) cmd() *cobra.Command {
	role := string(gateway.RoleResident)
	cmd := &cobra.Command{Use: "pair", Short: "Let a phone or another device in among the residents': shows a QR code, and asks to confirm", Args: cobra.NoArgs,
		Long: `pair opens a window of five minutes for one device and shows a QR code: scan it with
the phone's camera, or with the app. Then the phone and this terminal show six digits.
Say yes only if they are the same; until then the device opens nothing.

  resident   may do everything
  guest      sees the doors and what they do, and opens them
  installer  sees how the gateway and its hardware are, and opens nothing

With --json nothing is asked: the window comes first, and then, when a device has
paired, its id, name and code. Confirm it with "gardien resident confirm ID".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !gateway.Role(role).Valid() {
				return usage("--role: want resident, guest or installer")
			}
			return t.run(cmd, gateway.Role(role))
		}}
	cmd.Flags().StringVar(&role, "role", role, "what the device may do: resident, guest or installer")
	return cmd
}

func (t pairing) run(cmd *cobra.Command, role gateway.Role) error {
	w, err := post[api.PairingWindow](cmd, t.tool, "/v1/pairing/window", api.PairingWindowRequest{Role: role})
	if err != nil {
		return err
	}
	if err := t.print(w, func() { t.show(w) }); err != nil {
		return err
	}
	device, err := t.await(cmd.Context(), w.ID)
	if cmd.Context().Err() != nil {
		return errors.Join(errors.New("given up: the window is closed"), t.shut(w.ID))
	}
	if err != nil {
		return err
	}
	if t.json {
		return t.print(struct {
			ID   gateway.ResidentID `json:"id"`
			Name string             `json:"name"`
			Code string             `json:"code"`
		}{device.ID, device.Name, device.Code}, nil)
	}
	yes, err := t.ask(cmd.Context(), device)
	if err != nil || !yes {
		if err == nil {
			err = fmt.Errorf("%s was not confirmed, and opens nothing", device.Name)
		}
		return errors.Join(err, t.shut(w.ID))
	}
	if err := t.act(cmd, http.MethodPost, "/v1/residents/"+url.PathEscape(string(device.ID))+"/confirm", nil); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s is paired as %s: %s\n", device.Name, device.Role, device.ID)
	return nil
}

// shut closes the window, and drops who waits there: whoever gives up leaves no door ajar.
func (t pairing) shut(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return t.Do(ctx, http.MethodDelete, "/v1/pairing/window?id="+url.QueryEscape(id), nil, &api.Done{})
}

// ask shows the code and reads the answer. What was typed before the code was there is no answer to it.
func (t pairing) ask(ctx context.Context, d *api.PairingDevice) (yes bool, err error) {
	if f, ok := t.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH)
	}
	fmt.Fprintf(t.out, "\n%q has paired as %s. It shows the code %s. Is that so? [y/N] ", d.Name, d.Role, t.paint(green, d.Code[:3]+" "+d.Code[3:]))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(t.in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		return slices.Contains([]string{"y", "yes", "o", "oui"}, a), nil
	case <-ctx.Done():
		fmt.Fprintln(t.out)
		return false, fmt.Errorf("given up: %s was not confirmed, and opens nothing", d.Name)
	}
}

// await waits until a device has paired at a window.
func (t pairing) await(ctx context.Context, id string) (*api.PairingDevice, error) {
	for {
		var s api.PairingState
		err := t.Do(ctx, http.MethodGet, "/v1/pairing/window?wait=25&id="+url.QueryEscape(id), nil, &s)
		switch {
		case err != nil:
			return nil, err
		case s.Device != nil:
			return s.Device, nil
		case !s.Open:
			return nil, errors.New("no device has paired in time, or somebody has opened another window: run \"gardien pair\" again")
		}
	}
}

// show shows the QR code and what it says.
func (t pairing) show(w api.PairingWindow) {
	if code, err := qr.Encode(w.URL, qr.M); err == nil && strings.HasPrefix(w.URL, "https:") {
		fmt.Fprint(t.out, drawQR(code))
	}
	fmt.Fprintf(t.out, "address %s\nsecret  %s\n", w.URL, w.Secret)
	if w.Fingerprint != "" {
		fmt.Fprintf(t.out, "key     %s\n", w.Fingerprint)
	}
	fmt.Fprintf(t.out, "open for %d s, or until one device has paired; Ctrl-C closes it\n", w.ExpiresIn)
}

// quiet is the margin that a reader needs, in modules (ISO/IEC 18004).
const quiet = 4

// drawQR draws two rows of modules a line, dark on light whatever the terminal's colours are.
func drawQR(code *qr.Code) string {
	const light, dark, lightAbove, lightBelow = "█", " ", "▀", "▄"
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString("\x1b[97;40m")
		for x := -quiet; x < code.Size+quiet; x++ {
			switch above, below := code.Black(x, y), code.Black(x, y+1); {
			case above && below:
				b.WriteString(dark)
			case above:
				b.WriteString(lightBelow)
			case below:
				b.WriteString(lightAbove)
			default:
				b.WriteString(light)
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}

func (t *tool) residentCmd() *cobra.Command {
	cmd := group("resident", "Residents' paired devices")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "The paired devices", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := get[api.Residents](cmd, t, "/v1/residents")
			if err != nil {
				return err
			}
			return printLines(t, list.Residents, func() {
				var rows [][]string
				for _, r := range list.Residents {
					state := ""
					if !r.Confirmed {
						state = t.paint(red, "not confirmed: opens nothing")
					}
					rows = append(rows, []string{string(r.ID), r.Name, string(r.Role), r.PairedAt, or(r.SeenAt, "never"), state})
				}
				t.table("ID NAME ROLE PAIRED SEEN -", rows)
			})
		}})
	cmd.AddCommand(&cobra.Command{Use: "remove ID", Short: "Remove a device: it opens nothing any more, nor do its own and duress PINs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "DELETE", "/v1/residents/"+url.PathEscape(args[0]), nil); err != nil {
				return err
			}
			return t.done("%s: removed", args[0])
		}})
	cmd.AddCommand(&cobra.Command{Use: "confirm ID", Short: "Say that a device is one of this house: one that has just paired, or that came back with a backup", Args: cobra.ExactArgs(1),
		Long: `A device that has just paired opens nothing until somebody confirms it: compare the
six digits that it shows with those of "gardien pair" first. Who is not confirmed when
the pairing window closes is dropped.

A backup that is restored on another box, or after the list of removed devices was
lost, may bring back a device that was removed since. Such a device opens nothing
until somebody at the gateway says that it is one of this house.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/residents/"+url.PathEscape(args[0])+"/confirm", nil); err != nil {
				return err
			}
			return t.done("%s: confirmed", args[0])
		}})
	var doors []string
	duress := &cobra.Command{Use: "duress ID", Short: "Make a resident's duress PIN: it opens as any other and raises a silent event", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			made, err := post[api.GrantMade](cmd, t, "/v1/residents/"+url.PathEscape(args[0])+"/duress", api.DuressRequest{Doors: asDoors(doors)})
			if err != nil {
				return err
			}
			return t.print(made, func() { t.printPIN(made) })
		}}
	duress.Flags().StringSliceVar(&doors, "door", nil, "doors where it opens (default: all)")
	cmd.AddCommand(duress)
	return cmd
}

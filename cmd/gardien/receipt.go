package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

func receiptCmd(t *tool) *cobra.Command {
	return group("receipt", "The gateway's signed word on how an entry ended", getReceiptCmd(t), verifyReceiptCmd(t))
}

func getReceiptCmd(t *tool) *cobra.Command {
	return &cobra.Command{Use: "get ATTEMPT [FILE|-]", Short: "Get the receipt of an entry that is over", Args: cobra.RangeArgs(1, 2),
		Long: `get asks the gateway for the receipt of an attempt that let somebody in ("gardien events
--json" names the attempts), and prints it, or writes it to FILE. Whoever has the gateway's
descriptor can verify it, without the gateway.`,
		Example: "  gardien receipt get 3q2-7wQTeZyBvA5nS1xKdg parcel.jws",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := get[api.Receipt](cmd, t, "/v1/attempts/"+url.PathEscape(args[0])+"/receipt")
			if err != nil {
				return err
			}
			if len(args) == 1 || args[1] == "-" {
				return t.print(r, func() { fmt.Fprintln(t.out, r.Receipt) })
			}
			if err := os.WriteFile(args[1], []byte(r.Receipt+"\n"), 0o600); err != nil {
				return err
			}
			return t.done("%s: the receipt of attempt %s", args[1], args[0])
		}}
}

func verifyReceiptCmd(t *tool) *cobra.Command {
	var descriptor string
	cmd := &cobra.Command{Use: "verify FILE|- --gateway DESCRIPTOR", Short: "Verify a receipt, without the gateway", Args: cobra.ExactArgs(1),
		Long: `verify holds a receipt against the descriptor of the gateway that gave it ("gardien
descriptor" prints it, and an issuer has it from the enrolment). It asks nobody.`,
		Example: "  gardien receipt verify parcel.jws --gateway gateway.jws",
		RunE: func(_ *cobra.Command, args []string) error {
			if descriptor == "" {
				return usage("--gateway: name the file of the gateway's descriptor (gardien descriptor > FILE)")
			}
			text, err := t.readText(descriptor)
			if err != nil {
				return err
			}
			d, err := tokens.ParseDescriptor(text)
			if err != nil {
				return fmt.Errorf("%s: %w", descriptor, err)
			}
			if text, err = t.readText(args[0]); err != nil {
				return err
			}
			r, err := d.ReadReceipt(text)
			if err != nil {
				return fmt.Errorf("%s does not verify: %w", args[0], err)
			}
			return t.print(r, func() { fmt.Fprintf(t.out, "%s\n%s\n", sentence(r), source(r)) })
		}}
	cmd.Flags().StringVar(&descriptor, "gateway", "", "the file of the gateway's descriptor")
	return cmd
}

// readText reads a signed text from a file, or from standard input ("-").
func (t *tool) readText(name string) (string, error) {
	in := t.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, tokens.MaxJWS+16))
	if err == nil && len(b) == tokens.MaxJWS+16 {
		err = errors.New("it is too long for a signed text")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// sentence tells a receipt in one line: "front: granted 10:41:07, opened 10:41:09, …: entered".
func sentence(r gateway.EntryReceipt) string {
	var what []string
	for _, s := range []struct{ name, at string }{{"granted", r.Granted}, {"opened", r.Opened}, {"closed", r.Closed}, {"secured", r.Secured}} {
		if at, err := time.Parse(gateway.TimeFormat, s.at); err == nil {
			what = append(what, s.name+" "+at.Format(time.TimeOnly))
		}
	}
	return fmt.Sprintf("%s: %s: %s", r.Door, strings.Join(what, ", "), r.Outcome)
}

// source tells what the times are of, who says it, and where its record has it.
func source(r gateway.EntryReceipt) string {
	by := "a resident's own entry"
	if r.Grant != (gateway.GrantID{}) {
		by = "grant " + r.Grant.String()
	}
	day := ""
	if at, err := time.Parse(gateway.TimeFormat, r.Granted); err == nil {
		day = at.Format("2006-01-02 (Z07:00)")
	}
	return fmt.Sprintf("%s, %s; signed by %s: event %d of log %s", day, by, r.Gateway, r.Head.Seq, r.Head.Log)
}

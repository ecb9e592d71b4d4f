package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway/api"
)

// authority is what a certificate of the house CA says.
type authority struct {
	Name           string    `json:"name"` // the only one that it vouches for
	CAFingerprint  string    `json:"ca_fingerprint"`
	KeyFingerprint string    `json:"fingerprint"` // of the TLS key, which apps pin
	Until          time.Time `json:"until"`
	der            []byte
}

func caCmd(t *tool) *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "The fingerprint that a phone must show before you trust this house's certificate", Args: cobra.NoArgs,
		Long: `show prints the SHA-256 fingerprint of the house CA. Whoever installs the certificate on
a phone compares it with the one in the phone's own dialog: somebody on the network could
offer another certificate in place of this house's.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := authorityOf(cmd, t)
			if err != nil {
				return err
			}
			return t.print(a, func() {
				fmt.Fprintf(t.out, "house CA     SHA-256\n%s\nvouches for  %s, and for nothing else\nuntil        %s\nTLS key      %s\n",
					inLines(a.CAFingerprint), a.Name, a.Until.Format(time.DateOnly), a.KeyFingerprint)
			})
		}}
	export := &cobra.Command{Use: "export FILE|-", Short: "Write the certificate of the house CA, to carry it to a phone or for curl --cacert", Args: cobra.ExactArgs(1),
		Long: `export writes the certificate (PEM; DER where FILE ends with .der or .crt, as phones
want it). It has no secret: it lets a device recognise this house, and nothing else.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := authorityOf(cmd, t)
			if err != nil {
				return err
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der})
			if args[0] == "-" {
				_, err := t.out.Write(text)
				return err
			}
			if strings.HasSuffix(args[0], ".der") || strings.HasSuffix(args[0], ".crt") {
				text = a.der
			}
			if err := os.WriteFile(args[0], text, 0o644); err != nil {
				return err
			}
			return t.done("%s: the certificate of %s", args[0], a.Name)
		}}
	return group("ca", "The certificate by which browsers trust this house", show, export)
}

func authorityOf(cmd *cobra.Command, t *tool) (*authority, error) {
	s, err := get[api.Status](cmd, t, "/v1/status")
	if err != nil {
		return nil, err
	}
	a := &authority{KeyFingerprint: s.API.Fingerprint}
	err = t.Send(cmd.Context(), "GET", "/ca.crt", "", nil, func(r io.Reader) error {
		a.der, err = io.ReadAll(io.LimitReader(r, 64<<10))
		return err
	})
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(a.der)
	if err != nil {
		return nil, fmt.Errorf("the gateway's answer: %w", err)
	}
	sum := sha256.Sum256(a.der)
	a.CAFingerprint, a.Name, a.Until = fmt.Sprintf("%x", sum), strings.Join(c.PermittedDNSDomains, ", "), c.NotAfter
	return a, nil
}

// inLines writes a fingerprint as dialogs do, in four lines.
func inLines(fingerprint string) string {
	var b strings.Builder
	for i := 0; i+2 <= len(fingerprint); i += 2 {
		switch {
		case i%16 == 0 && i > 0:
			b.WriteString("\n")
		case i > 0:
			b.WriteString(":")
		}
		b.WriteString(strings.ToUpper(fingerprint[i : i+2]))
	}
	return b.String()
}

package certs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
)

// MobileConfig is an Apple configuration profile, unsigned, that installs the CA
// (com.apple.security.root). Installing it again replaces it: its identifiers are the house's.
func (h *House) MobileConfig() []byte {
	der := h.CA()
	house := houseName(h.name)
	cert := []any{
		"PayloadType", "com.apple.security.root",
		"PayloadVersion", 1,
		"PayloadIdentifier", "gardien." + house + ".ca.certificate",
		"PayloadUUID", uuid("certificate", der),
		"PayloadDisplayName", caName(h.name),
		"PayloadDescription", "Vouches for " + h.name + " and for no other name or address.",
		"PayloadCertificateFileName", "gardien-" + house + ".cer",
		"PayloadContent", der,
	}
	profile := []any{
		"PayloadType", "Configuration",
		"PayloadVersion", 1,
		"PayloadIdentifier", "gardien." + house + ".ca",
		"PayloadUUID", uuid("profile", der),
		"PayloadDisplayName", "Gardien " + house,
		"PayloadDescription", "Lets this device know the Gardien of this house, " + h.name + ".",
		"PayloadRemovalDisallowed", false,
		"PayloadContent", [][]any{cert},
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n" + `<plist version="1.0">`)
	plist(&b, profile)
	b.WriteString("\n</plist>\n")
	return b.Bytes()
}

// plist writes the few kinds of values that a profile has; a []any is a dictionary, keys
// and values in turns.
func plist(b *bytes.Buffer, v any) {
	b.WriteByte('\n')
	switch v := v.(type) {
	case string:
		b.WriteString("<string>")
		xml.EscapeText(b, []byte(v)) // a Buffer takes every write
		b.WriteString("</string>")
	case int:
		fmt.Fprintf(b, "<integer>%d</integer>", v)
	case bool:
		fmt.Fprintf(b, "<%t/>", v)
	case []byte:
		b.WriteString("<data>" + base64.StdEncoding.EncodeToString(v) + "</data>")
	case [][]any:
		b.WriteString("<array>")
		for _, d := range v {
			plist(b, d)
		}
		b.WriteString("\n</array>")
	case []any:
		b.WriteString("<dict>")
		for i := 0; i < len(v); i += 2 {
			fmt.Fprintf(b, "\n<key>%s</key>", v[i])
			plist(b, v[i+1])
		}
		b.WriteString("\n</dict>")
	}
}

// uuid is one of version 8 (RFC 9562 §5.8), made from the purpose and the CA alone.
func uuid(purpose string, der []byte) string {
	sum := sha256.Sum256(append([]byte("gardien "+purpose+"\n"), der...))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

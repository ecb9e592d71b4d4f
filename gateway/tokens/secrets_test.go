package tokens

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gardien/gateway"
)

// L5: whoever prints, logs or encodes what holds a secret shows nothing of it.
func TestL5_SecretsNeverPrint(t *testing.T) {
	dir := t.TempDir()
	id, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, k := range []interface{ Marshal() ([]byte, error) }{id.Signing, id.Opening, ed} {
		b, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		raw, err := decode(m["d"])
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, spellings(raw)...)
	}
	device, err := os.ReadFile(filepath.Join(dir, "device.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, spellings(device)...)
	secrets = append(secrets, spellings([]byte("0471108"))...)
	secrets = append(secrets, spellings([]byte("eyJ.the.grant"))...)
	secrets = append(secrets, spellings([]byte("eyJ.the.proof"))...)

	pin := gateway.PIN{Secret: gateway.NewSecret("0471108")}
	grant := someGrant()
	grant.PIN = pin
	cred := gateway.GrantCredential{Text: gateway.NewSecret("eyJ.the.grant"), Proof: gateway.NewSecret("eyJ.the.proof")}
	type nested struct {
		hidden any
		Shown  any
		m      map[string]any
	}
	values := map[string]any{"signing": id.Signing, "signing value": *id.Signing, "ed25519": ed, "opening": id.Opening,
		"opening value": *id.Opening, "identity": id, "identity value": *id, "pin": pin, "secret": pin.Secret,
		"credential": cred, "pin credential": gateway.PINCredential{PIN: pin}, "grant": grant,
		"verifier": &Verifier{Opening: id.Opening}}
	for name, v := range values {
		for _, v := range []any{v, &v, []any{v}, nested{v, v, map[string]any{"k": v}}, &nested{hidden: v}, struct{ hidden any }{v},
			struct{ p gateway.PIN }{pin}, struct{ c gateway.GrantCredential }{cred}, struct{ g gateway.Grant }{grant}} {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
				slog.New(h).With("with", v).Info("said", "value", v, slog.Group("group", "value", v))
			}
			b, err := json.Marshal(v)
			out.Write(b)
			fmt.Fprintln(&out, err)
			for _, secret := range secrets {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s: %s is printed in\n%s", name, secret, out.String())
				}
			}
		}
	}
}

// spellings lists how bytes could come out of a printer.
func spellings(b []byte) []string {
	list := fmt.Sprint(b) // [1 2 3]
	goList := fmt.Sprintf("%#v", b)
	std := strings.TrimRight(jose64(b), "=")
	return []string{string(b), list[1 : len(list)-1], goList[7 : len(goList)-1], strict.EncodeToString(b), std,
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("%q", b)}
}

func jose64(b []byte) string {
	out, _ := json.Marshal(b) // standard base64
	return strings.Trim(string(out), `"`)
}

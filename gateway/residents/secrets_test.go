package residents

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

type stopped struct{}

func (stopped) Read() gateway.Reading { return gateway.Reading{Wall: time.Unix(1_790_000_000, 0)} }

// L5: whoever prints or logs the room, or what it gives and takes, shows no secret of a window, no
// token, no code of a move, and no key of nonces. (The six digits that both sides show are none.)
func TestL5_RoomsNeverPrint(t *testing.T) {
	r := New(Opts{Memory: &Fake{}, Clock: stopped{}, Fingerprint: func() string { return "" },
		MAC: func(_ string, parts ...string) []byte { return []byte(fmt.Sprint(len(parts))) },
		Key: func([]byte) (string, error) { return "K", nil }})
	secret := r.OpenWindow(gateway.RoleResident).Secret
	ask := Ask{Secret: secret, Name: "Ada", JWK: []byte("{}")}
	p, err := r.Pair(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := r.Move("ben")
	key := []byte(r.proofs.key.Reveal())
	secrets := []string{secret.Reveal(), p.Token.Reveal(), p.Token.Reveal()[len(p.ID)+1:], code.Reveal(), string(key),
		base64.RawURLEncoding.EncodeToString(key), fmt.Sprintf("%x", key), strings.Trim(fmt.Sprint(key), "[]")}
	values := map[string]any{"room": r, "window": r.window, "newcomer": r.window.device, "ask": ask, "paired": p, "moves": r.moves, "move": r.moves["ben"],
		"options": r.Opts, "waiting": r.Await(t.Context(), AnyWindow)}
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
			fmt.Fprintf(&out, verb+"\n", []any{v, struct{ hidden any }{v}})
		}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info("said", "value", v)
		}
		b, err := json.Marshal(v)
		fmt.Fprintln(&out, string(b), err)
		for _, s := range secrets {
			if strings.Contains(out.String(), s) {
				t.Errorf("%s: %q is printed in\n%s", name, s, out.String())
			}
		}
	}
}

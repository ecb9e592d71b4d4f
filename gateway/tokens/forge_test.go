package tokens

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// The generator writes vectors by means of its own: signatures and envelopes come
// from the standard library here, not from the code under test. Keys are hashes of
// their names and ES256 is that of RFC 6979, so that it writes the same bytes twice.

func seed(name string) []byte {
	sum := sha256.Sum256([]byte("gardien PUBLIC TEST KEY, never trust it: " + name))
	return sum[:]
}

func deterministicES256(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	return joined(t, der(t, key, crypto.SHA256, string(message)), 32)
}

// fields is a JSON object as text, so that it can also be a wrong one.
type fields []field

type field struct{ name, raw string }

// with edits: "name=raw" sets or appends, "-name" removes, "+name=raw" appends even a
// name that is there.
func (f fields) with(edits ...string) fields {
	out := append(fields{}, f...)
	for _, edit := range edits {
		name, raw, _ := strings.Cut(strings.TrimLeft(edit, "+-"), "=")
		at := -1
		for i := range out {
			if out[i].name == name {
				at = i
			}
		}
		switch {
		case edit[0] == '-':
			out = append(out[:at:at], out[at+1:]...)
		case edit[0] == '+' || at < 0:
			out = append(out, field{name, raw})
		default:
			out[at].raw = raw
		}
	}
	return out
}

func (f fields) String() string {
	var parts []string
	for _, m := range f {
		parts = append(parts, `"`+m.name+`":`+m.raw)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quote(s string) string { return `"` + s + `"` }

func b64(s string) string { return strict.EncodeToString([]byte(s)) }

// sign makes a JWS of any header and payload.
func sign(key *SigningKey, header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + strict.EncodeToString(key.sign([]byte(signed)))
}

// padded gives the JWS whose text has exactly n bytes, by an unknown claim and header member.
func padded(t testing.TB, key *SigningKey, header, payload fields, n int) string {
	for h := range 4 {
		for p := n/2 - 200; p < n; p++ {
			head := header.with("pad=" + quote(strings.Repeat("x", h))).String()
			body := payload.with("pad=" + quote(strings.Repeat("x", p))).String()
			if strict.EncodedLen(len(head))+strict.EncodedLen(len(body))+strict.EncodedLen(64)+2 == n {
				return sign(key, head, body)
			}
		}
	}
	t.Fatalf("no JWS of %d bytes", n)
	return ""
}

// envelope is a JWE in the making (RFC 7516, 7518 §4.6).
type envelope struct {
	header   fields // without epk
	alg, enc string // what is really done
	to       *ecdsa.PublicKey
	plain    string
	apu, apv string
}

func (w *world) envelope(plain string) envelope {
	return envelope{
		header: fields{{"alg", `"ECDH-ES"`}, {"enc", `"A256GCM"`}, {"cty", `"gardien-grant+jwt"`}, {"kid", quote(w.opening.kid)}},
		alg:    "ECDH-ES", enc: "A256GCM", to: &w.rawOpening.PublicKey, plain: plain,
	}
}

func (e envelope) with(edits ...string) envelope {
	e.header = e.header.with(edits...)
	return e
}

func (e envelope) parts(t testing.TB) []string {
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ephemeral, err := ecdh.P256().NewPrivateKey(seed("ephemeral " + e.header.String() + e.plain))
	check(err)
	to, err := e.to.ECDH()
	check(err)
	z, err := ephemeral.ECDH(to)
	check(err)
	point := ephemeral.PublicKey().Bytes()
	epk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, strict.EncodeToString(point[1:33]), strict.EncodeToString(point[33:]))
	header := e.header
	if !strings.Contains(header.String(), `"epk"`) {
		header = header.with("epk=" + epk)
	}

	size := map[string]int{"A256GCM": 32, "A128GCM": 16}[e.enc]
	cek, wrapped := kdf(z, e.enc, e.apu, e.apv, size), ""
	if e.alg != "ECDH-ES" { // ECDH-ES+A256KW
		kek := kdf(z, e.alg, e.apu, e.apv, 32)
		cek = seed("content")[:size]
		wrapped = string(wrap(t, kek, cek))
	}
	block, err := aes.NewCipher(cek)
	check(err)
	gcm, err := cipher.NewGCM(block)
	check(err)
	head := b64(header.String())
	iv := seed("iv")[:12]
	sealed := gcm.Seal(nil, iv, []byte(e.plain), []byte(head))
	body, tag := sealed[:len(sealed)-16], sealed[len(sealed)-16:]
	return []string{head, b64(wrapped), strict.EncodeToString(iv), strict.EncodeToString(body), strict.EncodeToString(tag)}
}

func (e envelope) text(t testing.TB) string { return strings.Join(e.parts(t), ".") }

// kdf is the Concat KDF of RFC 7518 §4.6.2, one round.
func kdf(z []byte, alg, apu, apv string, size int) []byte {
	h := sha256.New()
	h.Write([]byte{0, 0, 0, 1})
	h.Write(z)
	for _, s := range []string{alg, apu, apv} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(size*8)))
	return h.Sum(nil)[:size]
}

// wrap is AES key wrap (RFC 3394).
func wrap(t testing.TB, kek, key []byte) []byte {
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	n := len(key) / 8
	a, r := bytes.Repeat([]byte{0xa6}, 8), bytes.Clone(key)
	for j := range 6 {
		for i := range n {
			b := append(bytes.Clone(a), r[i*8:i*8+8]...)
			block.Encrypt(b, b)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(b[:8])^uint64(n*j+i+1))
			copy(r[i*8:], b[8:])
		}
	}
	return append(a, r...)
}

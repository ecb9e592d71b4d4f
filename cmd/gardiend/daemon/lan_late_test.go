package daemon

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gardien/gateway"
	"gardien/gateway/api"
)

// TestRemovedWhileItsBodyArrives: a device that is removed while its request trickles in makes nothing
// any more (A9, R3).
func TestRemovedWhileItsBodyArrives(t *testing.T) {
	h := networked(t)
	h.start(t)
	h.paired(t, "Ada", gateway.RoleResident)
	ben := h.pair(t, "Ben") // without a key
	for _, route := range []string{"/v1/grants", "/v1/doors/side/attempts", "/v1/residents/x/confirm"} {
		conn, err := tls.Dial("tcp", h.lan.Address().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		body := `{ }`
		if route == "/v1/grants" {
			body = `{"doors":["side"],"not_after":"2090-01-01T00:00:00Z","pin":true}`
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nIdempotency-Key: late\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			route, ben.Token, len(body), body[:1])
		if route == "/v1/grants" { // the others come when it is gone already
			check(t, h.backend().Residents.Remove(t.Context(), api.Caller{Local: true}, ben.ID))
		}
		io.WriteString(conn, body[1:])
		answer, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 401 ")) {
			t.Errorf("%s: %s", route, answer)
		}
	}
}

// TestP2_AGuestEndsNoLockOut: a resident's device ends a run of failures at the door that it opens; a
// guest's does not.
func TestP2_AGuestEndsNoLockOut(t *testing.T) {
	h := networked(t)
	h.start(t)
	guy, _ := h.paired(t, "Guy", gateway.RoleGuest)
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	pin := h.pinGrant(t, "side")
	wrong := "000000"
	if pin.Reveal() == wrong {
		wrong = "000001"
	}
	types := func(p gateway.PIN) gateway.Reason {
		return h.access.Present(t.Context(), "side", "side-pad", gateway.PINCredential{PIN: p}).Reason
	}
	for range 4 {
		types(must(gateway.NewPIN(wrong)))
	}
	if got := types(pin); got != gateway.LockedOut {
		t.Fatalf("after four wrong PINs: %s", got)
	}
	if a := do(t, guy, "POST", attempts, "{}"); a.Status != 200 {
		t.Fatalf("a guest: %d %s", a.Status, a.Body)
	}
	if got := types(pin); got != gateway.LockedOut {
		t.Errorf("after a guest has opened: %q", got)
	}
	if a := do(t, ada, "POST", attempts, "{}"); a.Status != 200 {
		t.Fatalf("a resident: %d %s", a.Status, a.Body)
	}
	if got := types(pin); got != "" {
		t.Errorf("after a resident has opened: %q", got)
	}
}

// TestI3_OpenRoutesRememberNothing: a token makes nobody known where no proof is asked for: no answer
// is remembered, and none fills the card.
func TestI3_OpenRoutesRememberNothing(t *testing.T) {
	h := networked(t)
	h.start(t)
	guy, _ := h.paired(t, "Guy", gateway.RoleGuest)
	for _, body := range []string{`{"items":["a"]}`, `{"items":["b"]}`} { // another body under one key would be 409
		q, err := http.NewRequest("POST", guy.Base+"/v1/mailbag", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		guy.Identify(q.Header)
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Idempotency-Key", "k")
		res, err := guy.HTTP.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: %d", body, res.StatusCode)
		}
	}
}

// TestI2_SharesOfADevice: a guest who opens stream after stream leaves the others theirs.
func TestI2_SharesOfADevice(t *testing.T) {
	h := networked(t)
	h.start(t)
	guy, _ := h.paired(t, "Guy", gateway.RoleGuest)
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	got := 0
	for range 40 {
		if stream, err := guy.Stream(t.Context(), 0); err == nil {
			defer stream.Body.Close()
			got++
		}
	}
	if got == 0 || got > 8 {
		t.Errorf("a guest has %d streams", got)
	}
	stream, err := ada.Stream(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	stream.Body.Close()
}

// TestR3_StreamEndsWithARestore: a device that the restored database does not know sees no more.
func TestR3_StreamEndsWithARestore(t *testing.T) {
	h := networked(t)
	h.start(t)
	h.paired(t, "Ada", gateway.RoleResident)
	var saved bytes.Buffer
	check(t, h.store.Backup(t.Context(), &saved))
	guy, _ := h.paired(t, "Guy", gateway.RoleGuest)
	stream, err := guy.Stream(t.Context(), h.store.Head())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	check(t, h.store.Restore(t.Context(), &saved))
	within(t, "the stream's end", func() {
		for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		}
	})
}

// TestInstallersStatus: an installer sees how things are, and not when nobody is at home.
func TestInstallersStatus(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	ina, _ := h.paired(t, "Ina", gateway.RoleInstaller)
	if a := do(t, ada, "POST", "/v1/pause", `{"home":true,"until":"2090-01-01T00:00:00Z"}`); a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, tt := range []struct {
		name string
		body string
		sees bool
	}{{"a resident", do(t, ada, "GET", "/v1/status", "").Body, true}, {"an installer", do(t, ina, "GET", "/v1/status", "").Body, false}} {
		if got := strings.Contains(tt.body, "2090-01-01"); got != tt.sees {
			t.Errorf("%s sees the vacation: %v: %s", tt.name, got, tt.body)
		}
	}
}

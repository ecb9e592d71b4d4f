package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gardien/cmd/gardiend/hardware"
	"gardien/drivers/sim"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/tokens"
)

// networked is a house that listens on this machine's own network.
func networked(t testing.TB) *house {
	t.Helper()
	h := build(t)
	text := strings.Replace(houseYAML, `listen: ""`, `listen: "127.0.0.1:0"`, 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// stranger is a phone that has scanned the gateway's code and not paired.
func (h *house) stranger(t testing.TB) *phone.Phone {
	t.Helper()
	p := &phone.Phone{Base: h.lan.URL(""), HTTP: phone.Pinning(h.fingerprint(), h.lan.Address().String())}
	t.Cleanup(p.HTTP.CloseIdleConnections)
	return p
}

// paired is a phone with a key that has paired by the QR code, and was confirmed at the gateway.
func (h *house) paired(t testing.TB, name string, role gateway.Role) (*phone.Phone, gateway.ResidentID) {
	t.Helper()
	p := h.stranger(t)
	p.Key = must(tokens.GenerateES256())
	w := must(h.backend().Pairing.Open(context.Background(), role))
	got, err := p.Pair(context.Background(), w.Secret, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.backend().Residents.Confirm(context.Background(), got.ID); err != nil {
		t.Fatal(err)
	}
	return p, got.ID
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// do sends a request and gives its status.
func do(t testing.TB, p *phone.Phone, method, path, body string, headers ...string) phone.Answer {
	t.Helper()
	a, err := p.Do(context.Background(), method, path, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

const attempts = "/v1/doors/side/attempts"

// TestW5_PairActStream: a phone scans the code, pairs with a key of its own, opens nothing until it is
// confirmed, and then acts and follows the record, as an app and as a browser. Every resident's
// stream tells of it. Removed, it sees and does nothing any more, and its stream ends.
func TestW5_PairActStream(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada, adaID := h.paired(t, "Ada", gateway.RoleResident)
	told, err := ada.Stream(t.Context(), h.store.Head())
	if err != nil {
		t.Fatal(err)
	}
	defer told.Body.Close()
	news := bufio.NewScanner(told.Body)
	for _, cookie := range []bool{false, true} {
		p := h.stranger(t)
		p.Key, p.Cookie = must(tokens.GenerateES256()), cookie
		w := must(h.backend().Pairing.Open(t.Context(), gateway.RoleResident))
		if want := fmt.Sprintf("%s/#pair=%s&fp=%s", p.Base, w.Secret, h.certs.Load().Fingerprint()); w.URL != want {
			t.Errorf("URL %q, want %q", w.URL, want)
		}
		got, err := p.Pair(t.Context(), w.Secret, "Ben")
		if err != nil {
			t.Fatal(err)
		}
		state := must(h.backend().Pairing.Await(t.Context(), "", time.Minute))
		if state.Device == nil || state.Device.Code != got.Code || state.Device.ID != got.ID || len(got.Code) != 6 {
			t.Errorf("the console sees %+v, the phone %+v", state.Device, got)
		}
		for path, want := range map[string]int{"/v1/doors": 403, "/v1/session": 200} {
			if a := do(t, p, "GET", path, ""); a.Status != want {
				t.Errorf("before it is confirmed: %s: %d %s", path, a.Status, a.Body)
			}
		}
		if a := do(t, p, "POST", attempts, "{}"); a.Status != 403 || !strings.Contains(a.Body, "not-confirmed") {
			t.Errorf("before it is confirmed: %d %s", a.Status, a.Body)
		}
		if a := do(t, ada, "POST", "/v1/residents/"+string(got.ID)+"/confirm", ""); a.Status != 204 {
			t.Errorf("another resident confirms it: %d %s", a.Status, a.Body)
		}
		await(t, news, `"resident":"`+string(got.ID)+`"`)
		if a := do(t, p, "POST", attempts, "{}"); a.Status != 200 {
			t.Errorf("confirmed: %d %s", a.Status, a.Body)
		}
		stream, err := p.Stream(t.Context(), h.store.Head())
		if err != nil {
			t.Fatal(err)
		}
		if a := do(t, ada, "DELETE", "/v1/residents/"+string(got.ID), ""); a.Status != 204 {
			t.Errorf("revoke: %d %s", a.Status, a.Body)
		}
		rest := bufio.NewScanner(stream.Body)
		for rest.Scan() { // it ends by itself
			if strings.Contains(rest.Text(), "resident_removed") {
				t.Error("a removed device is told of it")
			}
		}
		stream.Body.Close()
		if a := do(t, p, "GET", "/v1/doors", ""); a.Status != 401 {
			t.Errorf("removed: %d %s", a.Status, a.Body)
		}
		if a := do(t, p, "POST", attempts, "{}"); a.Status != 401 {
			t.Errorf("removed: %d %s", a.Status, a.Body)
		}
	}
	if a := do(t, ada, "GET", "/v1/residents", ""); !strings.Contains(a.Body, `"this":true`) || strings.Contains(a.Body, "Ben") || !strings.Contains(a.Body, string(adaID)) {
		t.Errorf("%s", a.Body)
	}
}

func await(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Errorf("the stream ended without %s: %v", text, lines.Err())
}

// TestReplayedProofs: a proof that somebody has seen is good for nothing: not twice, not for another
// route, host, method or device, not with an old nonce.
func TestReplayedProofs(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	ben, _ := h.paired(t, "Ben", gateway.RoleResident)
	do(t, ada, "GET", "/v1/info", "") // brings a nonce
	send := func(by *phone.Phone, base, method, path, proof string) int {
		q, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		by.Identify(q.Header)
		q.Header.Set("DPoP", proof)
		res, err := by.HTTP.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	proof := must(ada.Proof("POST", "/v1/pause"))
	atAddress := "https://" + h.lan.Address().String()
	for _, tt := range []struct {
		name   string
		by     *phone.Phone
		base   string
		method string
		path   string
		want   int
	}{
		{"another device", ben, ada.Base, "POST", "/v1/pause", 401},
		{"another host", ada, atAddress, "POST", "/v1/pause", 401},
		{"another method", ada, ada.Base, "DELETE", "/v1/pause", 405},
		{"another route", ada, ada.Base, "POST", "/v1/resume", 401},
		{"the request it was made for", ada, ada.Base, "POST", "/v1/pause", 204},
		{"the same again", ada, ada.Base, "POST", "/v1/pause", 401},
		{"the same again, with a query", ada, ada.Base, "POST", "/v1/pause?x=1", 401},
	} {
		if got := send(tt.by, tt.base, tt.method, tt.path, proof); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	var once atomic.Int32
	var all sync.WaitGroup
	proof = must(ada.Proof("POST", "/v1/resume"))
	for range 16 {
		all.Go(func() {
			if send(ada, ada.Base, "POST", "/v1/resume", proof) == 204 {
				once.Add(1)
			}
		})
	}
	all.Wait()
	if n := once.Load(); n != 1 {
		t.Errorf("one proof, sent 16 times at once, was good %d times", n)
	}
	foreign := must(tokens.SignDPoP(ada.Key, "POST", ada.Base+"/v1/pause", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
	if got := send(ada, ada.Base, "POST", "/v1/pause", foreign); got != 401 {
		t.Errorf("a nonce that is not ours: %d", got)
	}
}

// TestStolenCookie: whoever has a browser's cookie and not its key reads, and does nothing.
func TestStolenCookie(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada := h.stranger(t)
	ada.Key, ada.Cookie = must(tokens.GenerateES256()), true
	w := must(h.backend().Pairing.Open(t.Context(), gateway.RoleResident))
	got := must(ada.Pair(t.Context(), w.Secret, "Ada"))
	if err := h.backend().Residents.Confirm(t.Context(), got.ID); err != nil {
		t.Fatal(err)
	}
	head := h.store.Head()
	for _, key := range []*tokens.SigningKey{nil, must(tokens.GenerateES256())} {
		for _, cookie := range []bool{true, false} { // as it was stolen, and as a bearer token
			thief := h.stranger(t)
			thief.Key, thief.Cookie, thief.Token = key, cookie, ada.Token
			if a := do(t, thief, "GET", "/v1/doors", ""); a.Status != 200 {
				t.Errorf("a thief reads: %d", a.Status)
			}
			for _, act := range [][2]string{{"POST", attempts}, {"POST", "/v1/pause"}, {"DELETE", "/v1/session"}, {"POST", "/v1/session/move"}, {"DELETE", "/v1/residents/" + string(got.ID)}} {
				if a := do(t, thief, act[0], act[1], ""); a.Status != 401 || a.Header.Get("WWW-Authenticate") == "Bearer" {
					t.Errorf("a thief's %v: %d %s", act, a.Status, a.Body)
				}
			}
		}
	}
	if h.store.Head() != head {
		t.Errorf("%d events of a thief", h.store.Head()-head)
	}
	if a := do(t, ada, "POST", attempts, "{}"); a.Status != 200 {
		t.Errorf("the owner: %d %s", a.Status, a.Body)
	}
}

// TestW5_BruteForce: ten wrong secrets end a window, also for who knows the right one; what strangers
// do there costs the disk nothing.
func TestW5_BruteForce(t *testing.T) {
	h := networked(t)
	h.start(t)
	w := must(h.backend().Pairing.Open(t.Context(), gateway.RoleResident))
	p := h.stranger(t)
	head := h.store.Head()
	for i := range 10 {
		if a := do(t, p, "POST", "/v1/pairing", fmt.Sprintf(`{"secret":"guess-%d","name":"Eve"}`, i)); a.Status != 403 {
			t.Errorf("guess %d: %d %s", i, a.Status, a.Body)
		}
	}
	if a := do(t, p, "POST", "/v1/pairing", fmt.Sprintf(`{"secret":%q,"name":"Ada"}`, w.Secret)); a.Status != 409 {
		t.Errorf("after ten: %d %s", a.Status, a.Body)
	}
	if h.store.Head() != head {
		t.Error("guesses are in the record")
	}
}

// TestW5_TwoPhonesAtOnce: one window is one phone's.
func TestW5_TwoPhonesAtOnce(t *testing.T) {
	h := networked(t)
	h.start(t)
	w := must(h.backend().Pairing.Open(t.Context(), gateway.RoleResident))
	var statuses [8]int
	var all sync.WaitGroup
	for i := range statuses {
		p := h.stranger(t)
		all.Go(func() {
			statuses[i] = do(t, p, "POST", "/v1/pairing", fmt.Sprintf(`{"secret":%q,"name":"phone %d"}`, w.Secret, i)).Status
		})
	}
	all.Wait()
	n := map[int]int{}
	for _, s := range statuses {
		n[s]++
	}
	if n[201] != 1 || n[409] != len(statuses)-1 {
		t.Errorf("%v", n)
	}
}

// TestLastResident: the last resident is removed at the gateway only, also where two remove each other
// at the same time, and where guests and installers are left.
func TestLastResident(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada, adaID := h.paired(t, "Ada", gateway.RoleResident)
	ben, benID := h.paired(t, "Ben", gateway.RoleResident)
	h.paired(t, "Guy", gateway.RoleGuest)
	h.paired(t, "Ina", gateway.RoleInstaller)
	var all sync.WaitGroup
	all.Go(func() { do(t, ada, "DELETE", "/v1/residents/"+string(benID), "") })
	all.Go(func() { do(t, ben, "DELETE", "/v1/residents/"+string(adaID), "") })
	all.Wait()
	left := 0
	for _, p := range []*phone.Phone{ada, ben} {
		a := do(t, p, "DELETE", "/v1/session", "")
		switch a.Status {
		case 409:
			left++
		case 401:
		default:
			t.Errorf("the last one: %d %s", a.Status, a.Body)
		}
	}
	if left != 1 {
		t.Errorf("%d residents are left", left)
	}
	list := must(h.backend().Residents.List(t.Context(), api.Caller{}))
	for _, r := range list {
		if r.Role == gateway.RoleResident {
			if err := h.backend().Residents.Remove(t.Context(), api.Caller{Local: true}, r.ID); err != nil {
				t.Errorf("at the gateway: %v", err)
			}
		}
	}
}

// TestMove: a home-screen icon takes over the access of the browser beside it.
func TestMove(t *testing.T) {
	h := networked(t)
	h.start(t)
	safari, id := h.paired(t, "Ada", gateway.RoleResident)
	var m api.SessionMove
	if a := do(t, safari, "POST", "/v1/session/move", ""); a.Status != 201 || a.Into(&m) != nil || len(m.Code) != 6 || m.ExpiresIn != 300 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	icon := h.stranger(t)
	icon.Key, icon.Cookie = must(tokens.GenerateES256()), true
	got, err := icon.Pair(t.Context(), m.Code, "Ada's icon")
	if err != nil || got.ID != id {
		t.Fatalf("%+v, %v; want the same resident %s", got, err, id)
	}
	if a := do(t, icon, "POST", attempts, "{}"); a.Status != 200 {
		t.Errorf("the icon: %d %s", a.Status, a.Body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if a := do(t, safari, method, "/v1/session", ""); a.Status != 401 {
			t.Errorf("the old key: %s: %d %s", method, a.Status, a.Body)
		}
	}
	h.stop()
	h.start(t)
	icon.Base, icon.HTTP = h.lan.URL(""), phone.Pinning(h.fingerprint(), h.lan.Address().String())
	if a := do(t, icon, "POST", attempts, "{}"); a.Status != 200 {
		t.Errorf("after a restart, with a nonce of before: %d %s", a.Status, a.Body)
	}
}

// TestW6_KeyForLife: a restart changes neither the fingerprint that apps have pinned nor the
// certificate that a browser has an exception for; status and the CA's routes tell the same.
func TestW6_KeyForLife(t *testing.T) {
	h := networked(t)
	h.start(t)
	leaf := func() string {
		conn, err := tls.Dial("tcp", h.lan.Address().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return string(conn.ConnectionState().PeerCertificates[0].Raw)
	}
	before, fp := leaf(), h.fingerprint()
	st := must(h.backend().Upkeep.Status(t.Context(), true))
	der, _, err := h.backend().Upkeep.CA()
	if err != nil {
		t.Fatal(err)
	}
	if st.API.Fingerprint != fp || st.API.Name != h.lan.Name || st.API.Address != h.lan.Address().String() || len(st.API.CAFingerprint) != 64 {
		t.Errorf("%+v", st.API)
	}
	trusting := must(phone.Trusting(der, h.lan.Address().String()))
	if a := do(t, &phone.Phone{Base: h.lan.URL(""), HTTP: trusting}, "GET", "/v1/info", ""); a.Status != 200 {
		t.Errorf("by the CA: %d", a.Status)
	}
	h.stop()
	h.start(t)
	if h.fingerprint() != fp || leaf() != before {
		t.Error("a restart changed the key or the certificate")
	}
}

// TestPortTaken: another program has the port. That is the listener's trouble alone: the doors work,
// and status says what to do.
func TestPortTaken(t *testing.T) {
	other := networked(t)
	other.start(t)
	h := build(t)
	text := strings.Replace(houseYAML, `listen: ""`, fmt.Sprintf("listen: %q", other.lan.Address()), 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	st := must(h.backend().Upkeep.Status(t.Context(), true))
	if notes := strings.Join(st.Notes, "\n"); !strings.Contains(notes, "another program has taken") || st.API.Address != "" {
		t.Errorf("%q %+v", st.Notes, st.API)
	}
	h.open(t, "side", h.pinGrant(t, "side"))
}

// TestPairingButton: the button lets one device in that knows no secret, and a resident's device
// confirms it. It is not for the first resident, whom nobody could confirm.
func TestPairingButton(t *testing.T) {
	h := networked(t)
	button := sim.NewREX("pairing button")
	h.devices = func(d *hardware.Devices) { d.Pairing = button }
	h.start(t)
	p := h.stranger(t)
	button.Press()
	if a := do(t, p, "POST", "/v1/pairing", `{"name":"Eve"}`); a.Status != 409 {
		t.Errorf("the first resident, by the button: %d %s", a.Status, a.Body)
	}
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	button.Press()
	pressed := func() api.PairingState { return must(h.backend().Pairing.Await(t.Context(), "", 0)) }
	for !pressed().Open {
		<-time.After(time.Millisecond)
	}
	p.Key = must(tokens.GenerateES256())
	ben, err := p.Pair(t.Context(), "", "Ben")
	if err != nil {
		t.Fatal(err)
	}
	if a := do(t, p, "POST", attempts, "{}"); a.Status != 403 {
		t.Errorf("not confirmed: %d %s", a.Status, a.Body)
	}
	if a := do(t, ada, "GET", "/v1/residents", ""); !strings.Contains(a.Body, `"confirmed":false`) || !strings.Contains(a.Body, `"code":"`+ben.Code+`"`) || !strings.Contains(a.Body, string(ben.ID)) {
		t.Errorf("a resident does not see who waits: %s", a.Body)
	}
	if a := do(t, ada, "POST", "/v1/residents/"+string(ben.ID)+"/confirm", ""); a.Status != 204 {
		t.Errorf("confirm: %d %s", a.Status, a.Body)
	}
	if a := do(t, p, "POST", attempts, "{}"); a.Status != 200 {
		t.Errorf("confirmed: %d %s", a.Status, a.Body)
	}
}

// neverSynced is a time service that has never reached anybody.
type neverSynced struct{}

func (neverSynced) LastSync(context.Context) (time.Time, bool) { return time.Time{}, false }

// TestUndecidedClockListens: a gateway that does not know what time it is serves the network all the
// same, with a certificate that a phone with the right time takes (the floor is the build's time).
func TestUndecidedClockListens(t *testing.T) {
	h := networked(t)
	text := strings.Replace(string(must(os.ReadFile(filepath.Join(h.dir, "g.yaml")))), "source: system", "source: timesyncd", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.source = neverSynced{}
	h.start(t)
	if state := h.clock.Read().State; state != gateway.ClockUndecided {
		t.Fatalf("the clock is %s", state)
	}
	der, _, err := h.backend().Upkeep.CA()
	if err != nil {
		t.Fatal(err)
	}
	p := &phone.Phone{Base: h.lan.URL(""), HTTP: must(phone.Trusting(der, h.lan.Address().String()))}
	if a := do(t, p, "GET", "/v1/info", ""); a.Status != 200 {
		t.Errorf("%d", a.Status)
	}
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	if a := do(t, ada, "POST", attempts, "{}"); a.Status != 200 {
		t.Errorf("a resident: %d %s", a.Status, a.Body)
	}
}

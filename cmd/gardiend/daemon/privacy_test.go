package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// tap records all that a service sees and says.
type tap struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func (c *tap) note(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Write(b)
}

func (c *tap) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.note(fmt.Appendf(nil, "%s %s %v\n", r.Method, r.URL, r.Header))
		r.Body = tapBody{io.TeeReader(r.Body, tapWriter{c}), r.Body}
		h.ServeHTTP(tapResponse{w, c}, r)
	})
}

type tapWriter struct{ *tap }

func (t tapWriter) Write(b []byte) (int, error) { t.note(b); return len(b), nil }

type tapBody struct {
	io.Reader
	io.Closer
}

type tapResponse struct {
	http.ResponseWriter
	tap *tap
}

func (r tapResponse) Write(b []byte) (int, error) { r.tap.note(b); return r.ResponseWriter.Write(b) }
func (r tapResponse) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Whoever runs the cloud finds no PIN, no event in clear, no schedule, no reference and no
// grant's id in what the service sees and stores, and no issuer gets another's events.
func TestPrivacy(t *testing.T) {
	seen := &tap{}
	s := newSky(t, filepath.Join(t.TempDir(), "mail.db"))
	s.wrap = seen.wrap
	s.up(t)
	h := newHome(t, s)
	g := h.x.grantOf("jti-in-clear", 1, gateway.GrantActive)
	g.PIN, g.Sub, g.Uses = gateway.DrawPIN(8), "sub-in-clear", 0
	from, to := gateway.Clock(0), gateway.Clock(0)
	if err := from.UnmarshalText([]byte("00:07")); err != nil {
		t.Fatal(err)
	}
	if err := to.UnmarshalText([]byte("00:06")); err != nil {
		t.Fatal(err)
	}
	g.Schedule = &gateway.Schedule{}
	var w gateway.Window
	for _, d := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		var day gateway.Weekday
		if err := day.UnmarshalText([]byte(d)); err != nil {
			t.Fatal(err)
		}
		w.Days = append(w.Days, day)
	}
	w.From, w.To = from, to
	g.Schedule.Windows = []gateway.Window{w}
	h.x.send(t, h.identity, g)
	h.known(t, h.x.id, g.ID.JTI, 1)
	if out := h.access.Present(context.Background(), "front", "pad", gateway.PINCredential{PIN: g.PIN}); !out.Granted && out.Reason != gateway.OutsideSchedule {
		t.Fatalf("denied: %s", out.Reason)
	}
	h.y.send(t, h.identity, h.y.grantOf("of-another", 1, gateway.GrantActive))
	h.known(t, h.y.id, "of-another", 1)
	keys := tokens.NewKeySet(h.identity.Signing.PublicKey)
	mine := h.x.follow(t, 0, keys, func(l []letter) bool { return len(l) >= 2 })
	theirs := h.y.follow(t, 0, keys, func(l []letter) bool { return len(l) >= 1 })
	for _, l := range append(mine, theirs...) {
		if want := map[bool]gateway.IssuerID{true: h.x.id, false: h.y.id}[l.Event.Grant == g.ID.JTI]; l.Event.Issuer != want {
			t.Errorf("an event of %s: %+v", l.Event.Issuer, l.Event)
		}
	}
	h.stop()
	h.sky.stop()

	corpus := map[string][]byte{"what passed": seen.seen.Bytes()}
	files, err := filepath.Glob(s.dsn + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if corpus[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 || seen.seen.Len() < 10_000 {
		t.Fatalf("%d files and %d bytes: too little was captured", len(files), seen.seen.Len())
	}
	clear := []string{g.PIN.Reveal(), "sub-in-clear", "jti-in-clear", "of-another", "00:07", "00:06", `"mon"`, "schedule", "access_", "grant_added", "strike_",
		fmt.Sprint(g.NotAfter.Unix()), fmt.Sprint(g.NotBefore.Unix()) + `,"nbf"`}
	for where, b := range corpus {
		for _, secret := range clear {
			if at := bytes.Index(b, []byte(secret)); at >= 0 {
				t.Errorf("%s holds %q: …%q…", where, secret, b[max(0, at-60):min(len(b), at+60)])
			}
		}
		// And in no JWS: what is readable is the assertions and the descriptor alone.
		for _, part := range regexp.MustCompile(`eyJ[A-Za-z0-9_-]+`).FindAllString(string(b), -1) {
			plain, err := b64.DecodeString(part[:len(part)/4*4])
			if err != nil {
				continue
			}
			for _, secret := range clear {
				if strings.Contains(string(plain), secret) && !strings.Contains(string(plain), `"aud":"https://`) {
					t.Errorf("%s holds %q behind base64: %s", where, secret, plain)
				}
			}
		}
	}
	// The tap works: what the cloud may know is there.
	for _, known := range []string{string(h.identity.ID), string(h.x.id), gateway.ItemID(h.x.id, g.ID.JTI)} {
		if !bytes.Contains(seen.seen.Bytes(), []byte(known)) {
			t.Errorf("the tap has not seen %s", known)
		}
	}
}

// calendarOS is an operating system's clocks that a test moves.
type calendarOS struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

func (c *calendarOS) Now() (time.Time, time.Duration, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.boot, "boot"
}

func (c *calendarOS) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall.Add(d), c.boot+d
}

// Thirty days without internet, summer time's end among them: every entitled presentation
// opens, no other does, and an issuer with an offline_limit stops where the policy says.
func TestThirtyDaysOffline(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	clock := &calendarOS{wall: time.Date(2027, 10, 15, 8, 0, 0, 0, zone), boot: time.Hour}
	start := clock.wall
	s := newSky(t, filepath.Join(t.TempDir(), "mail.db"))
	s.now = func() time.Time { now, _, _ := clock.Now(); return now }
	// The certificate is of the test's own days; the gateway's clock is not.
	h := &home{house: &house{dir: t.TempDir()}, sky: s, x: newShipper(t, "colis-x.example"), y: newShipper(t, "soins-y.example")}
	h.x.now, h.y.now = s.now, s.now
	s.up(t)
	yaml := strings.Replace(fmt.Sprintf(cloudYAML, s.url), "remote_unlock: true}", "offline_limit: 72h}", 1)
	yaml = strings.Replace(yaml, "y.json, doors: [front], bearer: true, max_validity: off}", "y.json, doors: [front], bearer: true, max_validity: off, offline_limit: off}", 1)
	yaml = strings.Replace(yaml, "release_time: 3s", "release_time: 3s, retry_grace: off", 1)
	for name, content := range map[string][]byte{"x.json": h.x.jwks, "y.json": h.y.jwks, "ca.pem": s.ca, "g.yaml": []byte(yaml)} {
		if err := os.WriteFile(filepath.Join(h.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.os = clock
	h.x.enrol(t, s)
	h.y.enrol(t, s)
	h.start(t)
	h.enrol(t)
	h.connected(t)

	week := func(from, to string, days ...string) *gateway.Schedule {
		sched, err := gateway.ParseHours(strings.Join(days, ","), from+"-"+to)
		if err != nil {
			t.Fatal(err)
		}
		return sched
	}
	type held struct {
		by    *shipper
		grant gateway.Grant
		text  string
		left  int
	}
	var all []*held
	add := func(by *shipper, jti string, from, to time.Duration, uses int, sched *gateway.Schedule) {
		g := by.grantOf(jti, 1, gateway.GrantActive)
		g.NotBefore, g.NotAfter, g.Uses, g.Schedule = start.Add(from), start.Add(to), uses, sched
		by.send(t, h.identity, g)
		h.known(t, by.id, jti, 1)
		text, err := tokens.SignGrant(by.key, h.identity.ID, g)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &held{by, g, text, uses})
	}
	const day = 24 * time.Hour
	add(h.x, "courier-day-2", 2*day, 2*day+4*time.Hour, 1, nil)
	add(h.x, "courier-day-10", 10*day, 11*day, 1, nil)
	add(h.y, "nurse", 0, 40*day, 0, week("08:00", "09:30", "mon", "wed", "fri"))
	add(h.y, "night", 5*day, 25*day, 0, week("22:00", "06:00", "sat"))
	add(h.y, "twice", 20*day, 22*day, 2, nil)
	add(h.y, "future", 35*day, 36*day, 1, nil)

	s.cable.Refuse()
	opened, refused := 0, 0
	for hour := range 30 * 24 {
		clock.advance(time.Hour)
		now, _, _ := clock.Now()
		for _, c := range all {
			entitled := !now.Before(c.grant.NotBefore) && now.Before(c.grant.NotAfter) && (c.grant.Uses == 0 || c.left > 0)
			if c.grant.Schedule != nil {
				inside, _ := c.grant.Schedule.Covers(now, now, zone)
				entitled = entitled && inside
			}
			if c.by == h.x && now.Sub(start) > 72*time.Hour {
				entitled = false
			}
			// Each hour at another reader: at one it would be a repeat, for the strike's seconds are real.
			reason := h.access.Present(t.Context(), "front", gateway.ReaderID(fmt.Sprint("hour-", hour)), gateway.GrantCredential{Text: gateway.NewSecret(c.text)}).Reason
			if (reason == "") != entitled {
				t.Fatalf("hour %d, %s: %s: %q, entitled %v", hour, now.In(zone), c.grant.ID.JTI, reason, entitled)
			}
			if reason == "" {
				opened++
				c.left--
			} else {
				refused++
			}
		}
	}
	t.Logf("%d opened, %d refused", opened, refused)
	if opened < 20 || refused < 1000 {
		t.Errorf("%d opened, %d refused: the test does not test", opened, refused)
	}
	// Back: all of it goes up, once each, and x's grants open again after its next word.
	s.cable.Heal()
	h.connected(t)
	h.until(t, "the record has gone up", func() bool {
		_, _, list, err := h.store.Unsent(context.Background(), 1)
		return err == nil && len(list) == 0
	})
	granted := 0
	h.y.follow(t, 0, tokens.NewKeySet(h.identity.Signing.PublicKey), func(l []letter) bool {
		granted = 0
		for _, e := range l {
			if e.Event.Type == gateway.AccessGranted {
				granted++
			}
		}
		return granted >= opened-1
	})
}

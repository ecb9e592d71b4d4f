package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/mdns/lantest"
	"gardien/gateway/tokens"
)

// A whole day at a house with a hall and a flat: a resident, an employee with fixed hours and couriers
// with one entry each, on a network without internet. One Go client plays them all, over TLS; the
// hands at the doors are "gardien sim". What it prints is the day's transcript.

// dayEnv makes this program that client.
const dayEnv = "GARDIEN_TEST_DAY"

const dayHouse = `gateway: {name: Maison, time_zone: Europe/Paris, state_dir: state}
api: {listen: "%s", socket: api.sock}
clock: {source: system}
mdns: {mode: "off"}
doors:
  - {id: hall, name: Hall, strike: {driver: sim}, contact: {driver: sim}, release_time: 3s, relock_delay: 100ms}
  - {id: flat, name: Appartement, strike: {driver: sim}, contact: {driver: sim}, release_time: 3s, relock_delay: 100ms}
interlock: [hall, flat]
readers:
  - {id: pad, door: hall, driver: sim}
issuers:
  - {id: colis-x.example, name: Colis X, keys: keys/jwks.json, doors: [hall, flat], one_time_only: true, approval: ask, offline_limit: off, hours: [{days: [mon, tue, wed, thu, fri, sat], from: "08:00", to: "20:00"}]}
`

// TestDay is the day on loopback.
func TestDay(t *testing.T) {
	aDay(t, "127.0.0.1:0", func(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }, func(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) })
}

// TestDayFromAnotherNamespace is the same day, with the gateway and the client each in a network
// namespace of its own.
func TestDayFromAnotherNamespace(t *testing.T) {
	n := lantest.New(t)
	aDay(t, lantest.GatewayIPv4+":8443",
		func(name string, args ...string) *exec.Cmd { return n.Command(lantest.Gateway, name, args...) },
		func(name string, args ...string) *exec.Cmd { return n.Command(lantest.Phone, name, args...) })
}

func aDay(t *testing.T, listen string, onGateway, onPhone func(string, ...string) *exec.Cmd) {
	dir := t.TempDir()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := filepath.Join(dir, "gardiend") // the stories' gardiend: its clock can be moved from outside
	if err := errors.Join(os.Symlink(self, daemon), os.WriteFile(filepath.Join(dir, "house.yaml"), fmt.Appendf(nil, dayHouse, listen), 0o600)); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "GARDIEN_SOCKET="+filepath.Join(dir, "api.sock"), "STORY_CLOCK="+filepath.Join(dir, ".clock"), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	in := func(cmd *exec.Cmd, more ...string) *exec.Cmd {
		cmd.Dir, cmd.Env = dir, append(env, more...)
		return cmd
	}
	if out, err := in(exec.Command(filepath.Join(bin, "gardien-issuer"), "keygen", "--id", "colis-x.example", "--out", "keys")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := &day{dir: dir}
	d.set(7, 30)
	gardiend := in(onGateway(daemon, "--config", "house.yaml"))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	gardiend.Stderr = log
	lantest.Start(t, gardiend)
	lantest.Within(t, 20*time.Second, "the daemon", func() bool {
		out, _ := in(exec.Command(filepath.Join(bin, "gardien"), "status", "--json")).Output()
		var st api.Status
		return json.Unmarshal(out, &st) == nil && st.API.Address != ""
	})
	out, err := in(onPhone(self), dayEnv+"=1").CombinedOutput()
	t.Logf("the day:\n%s", out)
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Fatalf("%v\n%s", err, said)
	}
}

// day is the client.
type day struct {
	dir    string
	at     string // time of the day, for the transcript
	ada    *phone.Phone
	events chan gateway.Event // that Ada's phone hears
}

// the day is a Monday.
var dayDate = time.Date(2027, 3, 1, 0, 0, 0, 0, func() *time.Location {
	z, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err)
	}
	return z
}())

// set lets time pass until a time of the day, on all clocks of the house.
func (d *day) set(hour, minute int) {
	var c clockFile
	name := filepath.Join(d.dir, ".clock")
	if b, err := os.ReadFile(name); err == nil {
		must(json.Unmarshal(b, &c))
	}
	more := time.Until(dayDate.Add(time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute)) - c.Wall
	c.Wall, c.Boot = c.Wall+more, c.Boot+more
	b, err := json.Marshal(c)
	must(errors.Join(err, os.WriteFile(name+".new", b, 0o600), os.Rename(name+".new", name)))
	d.at = fmt.Sprintf("%02d:%02d", hour, minute)
}

func (d *day) now() time.Time {
	var c clockFile
	b, err := os.ReadFile(filepath.Join(d.dir, ".clock"))
	must(errors.Join(err, json.Unmarshal(b, &c)))
	return time.Now().Add(c.Wall)
}

// failed ends the day.
type failed struct{ error }

func must(err error) {
	if err != nil {
		panic(failed{err})
	}
}

// tells writes a line of the transcript, and holds it against what is wanted.
func (d *day) tells(who, what, got string, want ...string) {
	got = strings.TrimSpace(got)
	fmt.Printf("%s  %-5s %-44s %s\n", d.at, who, what, got)
	for _, w := range want {
		if !strings.Contains(got, w) {
			must(fmt.Errorf("%s, %s: want %q", who, what, w))
		}
	}
}

func said(a phone.Answer, err error) string {
	must(err)
	return fmt.Sprint(a.Status, " ", a.Body)
}

// tool runs a program of ours.
func (d *day) tool(args ...string) string {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		must(fmt.Errorf("%v: %w: %s", args, err, out))
	}
	return strings.TrimSpace(string(out))
}

// passes moves a door as somebody does who comes in.
func (d *day) passes(door string) {
	d.tool("gardien", "sim", "contact", door, "open")
	d.tool("gardien", "sim", "contact", door, "close")
	d.hears("strike_secured", door)
}

// hears waits for an event on Ada's phone.
func (d *day) hears(what gateway.EventType, door string) gateway.Event {
	late := time.NewTimer(15 * time.Second)
	defer late.Stop()
	for {
		select {
		case e := <-d.events:
			if e.Type == what && (door == "" || string(e.Door) == door) {
				return e
			}
		case <-late.C:
			must(fmt.Errorf("Ada's phone does not hear %s of %s", what, door))
		}
	}
}

// someone is a phone that is not paired.
func (d *day) someone(name string) *phone.Phone {
	key, err := tokens.GenerateES256()
	must(err)
	jwk, err := key.JWK()
	must(errors.Join(err, os.WriteFile(filepath.Join(d.dir, name+".jwk"), jwk, 0o600)))
	return &phone.Phone{Base: d.ada.Base, HTTP: d.ada.HTTP, Key: key}
}

// carrier makes a grant for a courier's phone.
func (d *day) carrier(jti, holder string, more ...string) string {
	return d.tool(append([]string{"gardien-issuer", "grant", "--gateway", "gw.jws", "--key", "keys", "--door", "hall", "--door", "flat", "--uses", "1", "--seal",
		"--from", "2027-03-01T08:00:00+01:00", "--to", "2027-03-01T19:00:00+01:00", "--jti", jti, "--holder", holder + ".jwk", "--ref", "parcel-" + jti}, more...)...)
}

func dayMain() (code int) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failed)
			if !ok {
				panic(p)
			}
			fmt.Println("FAILED:", f.error)
			code = 1
		}
	}()
	dir, err := os.Getwd()
	must(err)
	d := &day{dir: dir, events: make(chan gateway.Event, 1000)}
	d.morning()
	emma, emmasGrant := d.employee()
	d.courier()
	d.refusedCourier()
	d.set(13, 0)
	d.tells("Emma", "comes after her hours", said(emma.Present(context.Background(), "hall", emmasGrant, d.now())), "403", "not_now")
	d.evening()
	return 0
}

// morning: the phone pairs, and listens.
func (d *day) morning() {
	d.set(7, 30)
	ctx := context.Background()
	var window api.PairingWindow
	socket := api.NewClient(os.Getenv("GARDIEN_SOCKET"))
	must(socket.Do(ctx, "POST", "/v1/pairing/window", api.PairingWindowRequest{}, &window))
	u, err := url.Parse(window.URL)
	must(err)
	var st api.Status
	must(json.Unmarshal([]byte(d.tool("gardien", "status", "--json")), &st))
	d.ada = &phone.Phone{Base: "https://" + u.Host, HTTP: phone.Pinning(window.Fingerprint, st.API.Address)}
	d.ada.Key, err = tokens.GenerateES256()
	must(err)
	paired, err := d.ada.Pair(ctx, window.Secret, "Ada")
	must(err)
	must(socket.Do(ctx, "POST", "/v1/residents/"+string(paired.ID)+"/confirm", nil, &api.Done{}))
	d.tells("Ada", "pairs her phone", said(d.ada.Do(ctx, "GET", "/v1/session", "")), `"role":"resident","confirmed":true`)
	res, err := d.ada.Stream(ctx, 0)
	must(err)
	go d.listen(res)
	must(os.WriteFile(filepath.Join(d.dir, "gw.jws"), []byte(d.tool("gardien", "descriptor")), 0o600))
}

func (d *day) listen(res *http.Response) {
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e gateway.Event
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(text), &e) == nil {
			d.events <- e
		}
	}
}

// employee: fixed hours, and a phone that opens.
func (d *day) employee() (*phone.Phone, string) {
	ctx := context.Background()
	emma := d.someone("Emma")
	var made api.GrantMade
	a, err := d.ada.Do(ctx, "POST", "/v1/grants", fmt.Sprintf(`{"doors":["hall","flat"],"holder":%q,"kind":"employee","schedule":{"windows":[{"days":["mon","thu"],"from":"09:00","to":"12:00"}]},"sub":"cleaner"}`, emma.Key.KeyID()))
	must(err)
	must(a.Into(&made))
	d.tells("Ada", "gives Emma her hours", fmt.Sprint(a.Status, " ", made.ID), "201 home/")
	d.tells("Ada", "looks who comes today", said(d.ada.Do(ctx, "GET", "/v1/visits?from=2027-03-01T00:00:00%2B01:00&to=2027-03-02T00:00:00%2B01:00", "")),
		`"from":"2027-03-01T09:00:00+01:00","to":"2027-03-01T12:00:00+01:00"`)
	d.set(8, 50)
	d.tells("Emma", "comes early", said(emma.Present(ctx, "hall", made.Grant, d.now())), "403", "not_now")
	d.set(9, 5)
	d.tells("Emma", "comes in at the hall", said(emma.Present(ctx, "hall", made.Grant, d.now())), "200", `"granted"`)
	d.passes("hall")
	d.tells("Emma", "and at the flat", said(emma.Present(ctx, "flat", made.Grant, d.now())), "200", `"granted"`)
	e := d.hears("access_granted", "flat")
	d.passes("flat")
	d.tells("Ada", "hears of it: one episode", fmt.Sprintf("%s %s, episode is that of the hall: %v", e.Type, e.Door, e.Episode != e.Attempt), "true")
	return emma, made.Grant
}

// courier: the parcel's grant comes with the phone, the resident says yes, and both get a receipt.
func (d *day) courier() {
	ctx := context.Background()
	cleo := d.someone("Cleo")
	text := d.carrier("one", "Cleo")
	d.set(10, 30)
	d.tells("Cleo", "carries the grant in", said(cleo.Do(ctx, "POST", "/v1/mailbag", fmt.Sprintf(`{"items":[%q]}`, text))), "200", `"accepted"`)
	d.tells("Cleo", "shows the grant without a proof", said(cleo.Do(ctx, "POST", "/v1/doors/hall/attempts", fmt.Sprintf(`{"grant":%q}`, text))), "403", "not_allowed")
	for _, door := range []string{"hall", "flat"} {
		a, err := cleo.Present(ctx, door, text, d.now())
		d.tells("Cleo", "shows it with a proof at the "+door, said(a, err), "202", "pending")
		e := d.hears(gateway.ApprovalAsked, door)
		d.tells("Ada", "is asked", fmt.Sprintf("%s: %s of %s at %s", e.Type, e.Grant, e.Issuer, e.Door))
		d.tells("Ada", "says yes", said(d.ada.Do(ctx, "POST", "/v1/attempts/"+string(e.Attempt)+"/approve", "")), "204")
		d.tells("Cleo", "hears it", said(cleo.Do(ctx, "GET", "/v1/attempts/"+string(e.Attempt)+"?wait=8", "")), `"decision":"granted"`)
		if door == "hall" {
			d.tool("gardien", "sim", "contact", "hall", "open")
			d.tells("Cleo", "tries the flat, the hall being open", said(cleo.Present(ctx, "flat", text, d.now())), "403", "try_later")
			d.tool("gardien", "sim", "contact", "hall", "close")
			d.hears("strike_secured", "hall")
			continue
		}
		d.passes(door)
		d.receipt(cleo, door, string(e.Attempt))
	}
	d.tells("Cleo", "shows it once more", said(cleo.Present(ctx, "hall", text, d.now())), "403", "not_allowed")
}

// receipt: signed by the gateway, for the courier, and verified far from it.
func (d *day) receipt(by *phone.Phone, door, attempt string) {
	ctx := context.Background()
	var r struct{ Receipt string }
	a, err := by.Receipt(ctx, door, attempt, d.now())
	must(err)
	d.tells("Cleo", "asks for the receipt", fmt.Sprint(a.Status), "200")
	must(a.Into(&r))
	must(os.WriteFile(filepath.Join(d.dir, "receipt.jws"), []byte(r.Receipt), 0o600))
	d.tells("Cleo", "has it verified, without the gateway", d.tool("gardien", "receipt", "verify", "receipt.jws", "--gateway", "gw.jws"), "entered")
	again, err := d.ada.Do(ctx, "GET", "/v1/attempts/"+attempt+"/receipt", "")
	must(err)
	d.tells("Ada", "has the same receipt", fmt.Sprintf("%d, the same: %v", again.Status, strings.Contains(again.Body, r.Receipt)), "200", "true")
}

// refusedCourier: the resident says no, and the grant stays unused.
func (d *day) refusedCourier() {
	ctx := context.Background()
	dan := d.someone("Dan")
	text := d.carrier("two", "Dan")
	d.set(11, 40)
	d.tells("Dan", "shows a grant that nobody has seen", said(dan.Present(ctx, "hall", text, d.now())), "202", "pending")
	e := d.hears(gateway.ApprovalAsked, "hall")
	d.tells("Ada", "says no", said(d.ada.Do(ctx, "POST", "/v1/attempts/"+string(e.Attempt)+"/deny", "")), "204")
	d.tells("Dan", "hears it", said(dan.Do(ctx, "GET", "/v1/attempts/"+string(e.Attempt), "")), `"denied"`, "not_allowed")
	d.tells("Dan", "tries the other door", said(dan.Present(ctx, "flat", text, d.now())), "403", "not_allowed")
	d.tells("Ada", "looks at the grant", said(d.ada.Do(ctx, "GET", "/v1/grants/colis-x.example%2Ftwo", "")), `"uses_left":1`)
	d.set(11, 50)
	d.tells("Ada", "takes it back", said(d.ada.Do(ctx, "DELETE", "/v1/grants/colis-x.example%2Ftwo", "")), "204")
	d.tells("Dan", "comes again", said(dan.Present(ctx, "hall", text, d.now())), "403", "not_allowed")
}

// evening: the record, and the holidays.
func (d *day) evening() {
	ctx := context.Background()
	d.set(19, 30)
	d.tells("Ada", "goes on vacation from tomorrow on", said(d.ada.Do(ctx, "POST", "/v1/pause", `{"from":"2027-03-02T00:00:00+01:00","until":"2027-03-10T00:00:00+01:00","home":true}`)), "204")
	d.tells("Ada", "looks who comes on Thursday", said(d.ada.Do(ctx, "GET", "/v1/visits?from=2027-03-04T00:00:00%2B01:00&to=2027-03-05T00:00:00%2B01:00", "")), `"key":"paused"`)
	d.tells("Ada", "asks whether all is well", said(d.ada.Do(ctx, "GET", "/v1/health", "")), `{"findings":[`)
	d.tells("Ada", "looks at the doors", said(d.ada.Do(ctx, "GET", "/v1/doors/flat", "")), `"strike":"secured","contact":"closed"`, `"seen_at"`)
	d.set(22, 0)
	d.tells("Ada", "has the record verified", said(d.ada.Do(ctx, "GET", "/v1/events/verification", "")), `"ok":true`)
}

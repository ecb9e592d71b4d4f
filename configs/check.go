package configs

import (
	"encoding"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"gardien/gateway"
)

// scalar holds one value against its type and its field's range.
func (l *loader) scalar(n *yaml.Node, t reflect.Type, tag reflect.StructTag, at string) {
	if n.Tag == "!!null" {
		remedy := "give one, or remove it"
		if tag.Get("required") != "" {
			remedy = "give one; configs/reference.yaml shows how"
		}
		l.report(n.Line, at, "it has no value", remedy)
		return
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		l.duration(n, tag, at)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		v := reflect.New(t).Interface().(encoding.TextUnmarshaler)
		if err := v.UnmarshalText([]byte(n.Value)); err != nil {
			problem, remedy, _ := strings.Cut(err.Error(), ": ")
			l.report(n.Line, at, problem, remedy)
			return
		}
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	case t.Kind() == reflect.Bool:
		if n.Tag != "!!bool" {
			l.report(n.Line, at, "want true or false, got "+kind(n), "write true or false without quotes")
		}
	case t.Kind() == reflect.Int:
		l.integer(n, tag, at)
	default:
		l.text(n, tag, at)
	}
}

func (l *loader) duration(n *yaml.Node, tag reflect.StructTag, at string) {
	example, units := tag.Get("default"), "(ms, s, m, h)"
	if tag.Get("off") != "" {
		units += ", or off"
	}
	if n.Tag == "!!int" || n.Tag == "!!float" {
		l.report(n.Line, at, fmt.Sprintf("%s has no unit", n.Value), fmt.Sprintf("write it with one, as in %s", example))
		return
	}
	var d Duration
	if n.Value == "off" && tag.Get("off") != "" {
		return
	}
	if err := d.UnmarshalText([]byte(n.Value)); err != nil || n.Value == "off" {
		l.report(n.Line, at, fmt.Sprintf("%q is not a duration", n.Value), fmt.Sprintf("write it as in %s %s", example, units))
		return
	}
	for _, bound := range []struct {
		tag  string
		sign time.Duration
		word string
	}{{"min", 1, "less than"}, {"max", -1, "more than"}} {
		limit, err := time.ParseDuration(tag.Get(bound.tag))
		if err == nil && (time.Duration(d)-limit)*bound.sign < 0 {
			l.report(n.Line, at, fmt.Sprintf("%s is %s %s", n.Value, bound.word, tag.Get(bound.tag)), rangeOf(tag))
		}
	}
}

func rangeOf(tag reflect.StructTag) string {
	lo, hi, off := tag.Get("min"), tag.Get("max"), ""
	if lo == "" {
		lo = "0s"
	}
	if tag.Get("off") != "" {
		off = ", or off"
	}
	if hi == "" {
		return "choose " + lo + " or more" + off
	}
	return "choose " + lo + " to " + hi + off
}

func (l *loader) integer(n *yaml.Node, tag reflect.StructTag, at string) {
	v, err := strconv.Atoi(n.Value)
	if n.Tag != "!!int" || err != nil || n.Value != strconv.Itoa(v) {
		l.report(n.Line, at, "want a whole number, got "+kind(n), "write it in decimal digits, without quotes, zeros in front or a unit")
		return
	}
	lo, _ := strconv.Atoi(tag.Get("min"))
	hi, err := strconv.Atoi(tag.Get("max"))
	if err != nil {
		hi = math.MaxInt
	}
	if v < lo || v > hi {
		l.report(n.Line, at, fmt.Sprintf("%d is out of range", v), rangeOf(tag))
	}
}

func (l *loader) text(n *yaml.Node, tag reflect.StructTag, at string) {
	one := strings.Fields(tag.Get("oneof"))
	if n.Tag != "!!str" {
		remedy := "put it in quotes"
		if len(one) > 0 {
			remedy = "choose one of " + strings.Join(one, ", ")
		}
		l.report(n.Line, at, "want a text, got "+kind(n), remedy)
		return
	}
	if strings.ContainsFunc(n.Value, unicode.IsControl) {
		l.report(n.Line, at, "it has control characters", "write it on one line of plain text")
		return
	}
	if len(one) > 0 && !slices.Contains(one, n.Value) {
		l.report(n.Line, at, fmt.Sprintf("%q is not known", n.Value), "choose one of "+strings.Join(one, ", "))
	}
}

// check holds the parts against each other, and makes paths absolute.
func (l *loader) check(c *Config, o Opts) {
	bad := func(key, problem, remedy string) {
		if !l.reported(key) {
			l.report(l.lines[key], key, problem, remedy)
		}
	}
	tz := c.Gateway.TimeZone
	// Abbreviations and fixed offsets do not know daylight-saving time (H6).
	if _, err := time.LoadLocation(tz); err != nil || tz == "Local" || tz == "" || !strings.Contains(tz, "/") && tz != "UTC" || strings.HasPrefix(tz, "Etc/GMT") {
		bad("gateway.time_zone", fmt.Sprintf("%q is not a time zone of a place", tz), "name one of the IANA list, as in Europe/Paris")
	}
	if c.Gateway.StateDir == "" {
		bad("gateway.state_dir", "it is empty", "name a folder, as in /var/lib/gardien")
	}
	c.Gateway.StateDir, c.API.Socket, c.Cloud.CA = l.path(c.Gateway.StateDir), l.path(c.API.Socket), l.path(c.Cloud.CA)
	if c.API.Socket == "" {
		bad("api.socket", "it is empty", "name a path, as in /run/gardien/api.sock")
	} else if len(c.API.Socket) > 107 {
		bad("api.socket", "the path is longer than 107 bytes, the kernel's limit", "choose a shorter one")
	}
	if c.API.Listen != "" {
		if _, port, err := net.SplitHostPort(c.API.Listen); err != nil || !isPort(port) {
			bad("api.listen", fmt.Sprintf("%q is not an address and port", c.API.Listen), `write it as in ":8443", or "" for none`)
		}
	}
	if c.Cloud.URL != "" {
		const remedy = "write it as in https://cloud.example"
		u, err := url.Parse(c.Cloud.URL)
		switch {
		case err != nil || u.Hostname() == "" || u.Scheme != "https" && !loopback(u):
			bad("cloud.url", fmt.Sprintf("%q is not an https address", c.Cloud.URL), remedy)
		case !gateway.IsOrigin(*u):
			bad("cloud.url", "it has more than scheme, host and port", remedy) // not shown: a password may be in it
		}
	}
	l.doors(c, bad)
	interlock(c, bad)
	l.readers(c, bad)
	l.pins(c, bad)
	l.issuers(c, o, bad)
	pinShares(c, bad)
}

// pinShares finds doors at which an issuer has no place for a single PIN (I2).
func pinShares(c *Config, bad func(key, problem, remedy string)) {
	for n, d := range c.Doors {
		issuers, places := 0, 0
		for _, i := range c.Issuers {
			if slices.Contains(i.Doors, d.ID) {
				issuers++
			}
		}
		for _, length := range d.PIN.ThirdParty {
			places = max(places, gateway.PINCapacity(length))
		}
		if places > 0 && places < issuers {
			bad(fmt.Sprintf("doors[%d].pin.third_party", n), fmt.Sprintf("%d issuers share %d places for PINs", issuers, places), "name a greater length, such as 8")
		}
	}
}

// reported tells whether the key, or what it is part of, has a problem already: what
// follows from that is not told again.
func (l *loader) reported(key string) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool {
		return key == p.Key || strings.HasPrefix(key, p.Key+".") || strings.HasPrefix(key, p.Key+"[")
	})
}

// meant tells whether an unknown key beside it was probably meant for the key.
func (l *loader) meant(key string) bool {
	dot := strings.LastIndexByte(key, '.') + 1
	return slices.ContainsFunc(l.problems, func(p Problem) bool {
		return strings.LastIndexByte(p.Key, '.')+1 == dot && p.Key[:dot] == key[:dot] && p.Remedy == didYouMean(key[dot:])
	})
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

// loopback allows plain http to this machine only.
func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

const idRemedy = "use lower-case letters, digits and hyphens, at most 32, as in front-door"

func (l *loader) doors(c *Config, bad func(key, problem, remedy string)) {
	if len(c.Doors) > 64 {
		bad("doors", "more than 64 doors", "use a second gateway")
	}
	seen := map[string]bool{}
	for i := range c.Doors {
		d, at := &c.Doors[i], fmt.Sprintf("doors[%d]", i)
		if !gateway.DoorID(d.ID).Valid() {
			bad(at+".id", fmt.Sprintf("%q is not a door id", d.ID), idRemedy)
		} else if seen[d.ID] {
			bad(at+".id", fmt.Sprintf("%q is the id of another door", d.ID), "give each door its own")
		}
		seen[d.ID] = true
		if d.Name == "" {
			d.Name = d.ID
		}
		switch {
		case d.Strike == nil && d.Lock == nil:
			if l.reported(at+".strike") || l.reported(at+".lock") || l.meant(at+".strike") || l.meant(at+".lock") {
				break
			}
			bad(at, "it has neither strike nor lock", "add one of them, as in strike: {driver: sim}")
		case d.Strike != nil && d.Lock != nil:
			bad(at+".lock", "it has a strike and a lock", "keep one, or make two doors")
		}
		if d.Lock != nil && d.Lock.Driver == "zwave" && d.Lock.Node == 0 {
			bad(at+".lock.node", "missing", "name the lock's node number, as in node: 5")
		}
		pinLengths(&d.PIN, at+".pin", bad)
	}
}

// pinLengths completes and checks the lengths of a door's PINs: where a length were in both
// lists, a third party's PIN could meet one of home's (P1).
func pinLengths(p *PIN, at string, bad func(key, problem, remedy string)) {
	normal := gateway.DefaultPINLengths()
	whose := map[int]string{}
	for _, class := range []struct {
		key    string
		have   *[]int
		normal []int
	}{{at + ".home", &p.Home, normal.Home}, {at + ".third_party", &p.ThirdParty, normal.ThirdParty}} {
		given := *class.have != nil
		if !given {
			*class.have = class.normal
		}
		if len(*class.have) == 0 {
			bad(class.key, "the list is empty", "name at least one length, or leave the key out")
		}
		for i, n := range *class.have {
			key := class.key
			if given {
				key = fmt.Sprintf("%s[%d]", key, i)
			}
			switch other := whose[n]; {
			case n > gateway.MaxPIN || gateway.PINCapacity(n) == 0:
				bad(key, fmt.Sprintf("%d digits: too few are guessed too easily, and too many no reader takes", n), "choose lengths from 6 to 10")
			case other == class.key:
				bad(key, fmt.Sprintf("%d stands twice", n), "keep one")
			case other != "":
				bad(key, fmt.Sprintf("%d is a length of %s, too: a third party could meet or crowd out PINs made at home", n, other),
					"give each its own lengths, as in {home: [6, 7, 9], third_party: [8]}")
			}
			whose[n] = class.key
		}
	}
}

func (l *loader) readers(c *Config, bad func(key, problem, remedy string)) {
	seen := map[string]bool{}
	for i, r := range c.Readers {
		at := fmt.Sprintf("readers[%d]", i)
		if !gateway.ReaderID(r.ID).Valid() {
			remedy := idRemedy
			if r.ID == string(gateway.ReaderLAN) || r.ID == string(gateway.ReaderApp) {
				remedy = `"lan" and "app" name what comes without a reader: choose another`
			}
			bad(at+".id", fmt.Sprintf("%q is not a reader id", r.ID), remedy)
		} else if seen[r.ID] {
			bad(at+".id", fmt.Sprintf("%q is the id of another reader", r.ID), "give each reader its own")
		}
		seen[r.ID] = true
		if len(c.Doors) > 0 && !slices.ContainsFunc(c.Doors, func(d Door) bool { return d.ID == r.Door }) {
			bad(at+".door", fmt.Sprintf("there is no door %q", r.Door), "choose one of "+doorIDs(c))
		}
		if r.Driver == "evdev" && r.Device == "" {
			bad(at+".device", "missing", "name it, as in device: /dev/input/by-id/usb-…-event-kbd")
		}
		if r.Driver == "serial" && r.Device == "" {
			bad(at+".device", "missing", "name it, as in device: /dev/serial/by-id/usb-…")
		}
	}
}

func doorIDs(c *Config) string {
	var ids []string
	for _, d := range c.Doors {
		if d.ID != "" {
			ids = append(ids, d.ID)
		}
	}
	return strings.Join(ids, ", ")
}

func (l *loader) issuers(c *Config, o Opts, bad func(key, problem, remedy string)) {
	seen := map[string]bool{}
	for i := range c.Issuers {
		s, at := &c.Issuers[i], fmt.Sprintf("issuers[%d]", i)
		switch {
		case s.ID == string(gateway.HomeIssuer):
			bad(at+".id", `"home" is the issuer of grants made at home`, "use the issuer's own id, as in colis-x.example")
		case !gateway.IssuerID(s.ID).Valid():
			bad(at+".id", fmt.Sprintf("%q is not an issuer id", s.ID), "use lower-case letters, digits, dots and hyphens, at most 64, as in colis-x.example")
		case seen[s.ID]:
			bad(at+".id", fmt.Sprintf("%q is the id of another issuer", s.ID), "give each issuer one entry")
		}
		seen[s.ID] = true
		if s.Name == "" {
			s.Name = s.ID
		}
		for j, d := range s.Doors {
			if len(c.Doors) > 0 && !slices.ContainsFunc(c.Doors, func(x Door) bool { return x.ID == d }) {
				bad(fmt.Sprintf("%s.doors[%d]", at, j), fmt.Sprintf("there is no door %q", d), "choose from "+doorIDs(c))
			}
		}
		for j, w := range s.Hours {
			key := fmt.Sprintf("%s.hours[%d]", at, j)
			if err := gateway.Window(w).Validate(); err != nil && len(w.Days) > 0 { // no days: told already
				bad(key, err.Error(), `write it as in {days: [mon, tue], from: "08:00", to: "20:00"}`)
			}
		}
		if s.Approval == "ask" && s.Knock > 0 {
			bad(at+".approval", "residents cannot be told (knock) and asked (approval) of the same grant", "leave out knock, or approval")
		}
		if s.Approval != "ask" && s.ApprovalSilence != "deny" {
			bad(at+".approval_silence", "nobody is asked, so that nobody is silent", "add approval: ask, or leave it out")
		}
		s.Keys = l.path(s.Keys)
		l.keys(s, at+".keys", o, bad)
	}
}

func (l *loader) keys(s *Issuer, at string, o Opts, bad func(key, problem, remedy string)) {
	if s.Keys == "" {
		bad(at, "it is empty", "name the issuer's public key set, as in issuers/colis-x.jwks.json")
		return
	}
	if o.SetAside {
		bad = func(_, problem, _ string) { s.SetAside = problem }
	}
	f, err := os.Open(s.Keys)
	if err != nil {
		bad(at, err.Error(), "put the issuer's jwks.json there; \"gardien-issuer keygen\" makes one")
		return
	}
	defer f.Close()
	const most = 64 << 10
	if s.KeySet, err = io.ReadAll(io.LimitReader(f, most+1)); err != nil || len(s.KeySet) > most {
		bad(at, s.Keys+" is not a readable file of at most 64 KiB", "put the issuer's jwks.json there")
		return
	}
	if o.CheckKeys != nil {
		if err := o.CheckKeys(s.KeySet); err != nil {
			bad(at, fmt.Sprintf("%s: %v", s.Keys, err), "ask the issuer for its public key set (JWKS)")
		}
	}
}

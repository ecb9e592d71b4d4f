package configs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"gardien/gateway"
)

// Config is the whole file. Tags: key is the YAML name; default what a missing key
// means; required that there is none; oneof, min, max the range; off that the word
// "off" is allowed and means zero.
type Config struct {
	Gateway   Gateway  `key:"gateway" required:"true"`
	Clock     Clock    `key:"clock"`
	API       API      `key:"api"`
	MDNS      MDNS     `key:"mdns"`
	Pairing   Pairing  `key:"pairing"`
	Doors     []Door   `key:"doors" required:"true"`
	Interlock []string `key:"interlock"`
	Readers   []Reader `key:"readers"`
	ZWave     ZWave    `key:"zwave"`
	Issuers   []Issuer `key:"issuers"`
	Cloud     Cloud    `key:"cloud"`
	Retention Duration `key:"retention" default:"2160h" min:"24h"`

	file  string
	lines map[string]int
}

// Problem is a problem of a key that another than this package has found.
func (c *Config) Problem(key, problem, remedy string) Problem {
	return Problem{c.file, max(c.lines[key], 1), key, problem, remedy}
}

// Gateway is the house.
type Gateway struct {
	Name     string `key:"name" default:"Gardien"`
	TimeZone string `key:"time_zone" required:"true"`
	StateDir string `key:"state_dir" required:"true"`
}

// Clock is where evidence of time comes from.
type Clock struct {
	Source string `key:"source" default:"auto" oneof:"auto timesyncd chrony system"`
}

// API is where the gateway listens.
type API struct {
	Listen string `key:"listen" default:":8443"`
	Socket string `key:"socket" default:"/run/gardien/api.sock"`
}

// MDNS is how phones find the gateway.
type MDNS struct {
	Mode       string   `key:"mode" default:"auto" oneof:"auto avahi builtin off"`
	Interfaces []string `key:"interfaces"`
}

// Pairing is how devices come in among the residents', beside "gardien pair".
type Pairing struct {
	Button *Button `key:"button"`
}

// Door is one opening with its hardware: a strike or a lock.
type Door struct {
	ID            string   `key:"id" required:"true"`
	Name          string   `key:"name"`
	Strike        *Strike  `key:"strike"`
	Lock          *Lock    `key:"lock"`
	Contact       *Contact `key:"contact"`
	REX           *REX     `key:"rex"`
	Bell          *Button  `key:"bell"`
	Indicator     *Lamps   `key:"indicator"`
	ReleaseTime   Duration `key:"release_time" default:"4s" min:"3s" max:"10s"`
	RelockDelay   Duration `key:"relock_delay" default:"1s" max:"10s"`
	HeldOpenAfter Duration `key:"held_open_after" default:"30s" min:"1s" max:"24h" off:"true"`
	RetryGrace    Duration `key:"retry_grace" default:"3m" max:"3m" off:"true"`
	Unwell        string   `key:"unwell" default:"refuse" oneof:"refuse allow"`
	PIN           PIN      `key:"pin"`
}

// PIN is the lengths of the PINs that a door takes, in digits, by who made them.
type PIN struct {
	Home       []int `key:"home"`
	ThirdParty []int `key:"third_party"`
}

// Lengths gives the words' lengths of a door, rising.
func (d *Door) Lengths() gateway.PINLengths {
	return gateway.PINLengths{Home: slices.Sorted(slices.Values(d.PIN.Home)), ThirdParty: slices.Sorted(slices.Values(d.PIN.ThirdParty))}
}

// Strike is an electric strike.
type Strike struct {
	Driver string `key:"driver" required:"true" oneof:"gpio sim"`
	Pin    string `key:"pin"`
	Active string `key:"active" default:"high" oneof:"high low"`
	Fail   string `key:"fail" default:"secure" oneof:"secure safe"`
	// AtReset accepts a polarity that releases the strike from power-on until gardiend runs (F3).
	AtReset        string `key:"at_reset" default:"refuse" oneof:"refuse accept"`
	Feedback       string `key:"feedback"`
	FeedbackActive string `key:"feedback_active" default:"high" oneof:"high low"`
	FeedbackPull   string `key:"feedback_pull" default:"down" oneof:"up down none"`
}

// Lock is a bolt lock that reports itself.
type Lock struct {
	Driver string `key:"driver" required:"true" oneof:"zwave sim"`
	Node   int    `key:"node" min:"0" max:"4000"`
}

// Contact is a door position switch.
type Contact struct {
	Driver   string   `key:"driver" required:"true" oneof:"gpio sim"`
	Pin      string   `key:"pin"`
	Closed   string   `key:"closed" default:"low" oneof:"high low"`
	Debounce Duration `key:"debounce" default:"50ms" max:"500ms"`
	Pull     string   `key:"pull" default:"up" oneof:"up down none"`
	Opposite string   `key:"opposite"`
}

// REX is a request-to-exit input.
type REX struct {
	Driver   string   `key:"driver" required:"true" oneof:"gpio sim"`
	Pin      string   `key:"pin"`
	Active   string   `key:"active" default:"low" oneof:"high low"`
	Debounce Duration `key:"debounce" default:"20ms" max:"200ms"`
	Pull     string   `key:"pull" default:"up" oneof:"up down none"`
	Releases bool     `key:"releases" default:"false"`
	Shunt    Duration `key:"shunt" default:"10s" min:"1s" max:"60s"`
}

// Button is an input that asks for something: a bell, a tamper switch, a button for pairing.
type Button struct {
	Driver   string   `key:"driver" required:"true" oneof:"gpio"`
	Pin      string   `key:"pin"`
	Active   string   `key:"active" default:"low" oneof:"high low"`
	Debounce Duration `key:"debounce" default:"20ms" max:"200ms"`
	Pull     string   `key:"pull" default:"up" oneof:"up down none"`
}

// Lamps tell people at a door what becomes of them.
type Lamps struct {
	Driver string `key:"driver" required:"true" oneof:"gpio"`
	Green  string `key:"green"`
	Red    string `key:"red"`
	Buzzer string `key:"buzzer"`
	Active string `key:"active" default:"high" oneof:"high low"`
}

// Reader is where credentials are presented.
type Reader struct {
	ID      string   `key:"id" required:"true"`
	Door    string   `key:"door" required:"true"`
	Driver  string   `key:"driver" required:"true" oneof:"wiegand keypad evdev serial sim"`
	D0      string   `key:"d0"`
	D1      string   `key:"d1"`
	LED     string   `key:"led"`
	Beep    string   `key:"beep"`
	Rows    []string `key:"rows"`
	Columns []string `key:"columns"`
	Keys    string   `key:"keys"`
	Device  string   `key:"device"`
	Kind    string   `key:"kind" default:"keypad" oneof:"keypad scanner"`
	Layout  string   `key:"layout" default:"us" oneof:"us fr"`
	Baud    int      `key:"baud" default:"9600" min:"1200" max:"115200"`
	Tamper  *Button  `key:"tamper"`
}

// ZWave is the Z-Wave server.
type ZWave struct {
	Server string `key:"server" default:"ws://127.0.0.1:3000"`
}

// Issuer is a third party with the resident's limits on it.
type Issuer struct {
	ID           string   `key:"id" required:"true"`
	Name         string   `key:"name"`
	Keys         string   `key:"keys" required:"true"`
	Doors        []string `key:"doors" required:"true"`
	Hours        []Window `key:"hours"`
	OneTimeOnly  bool     `key:"one_time_only" default:"false"`
	MaxValidity  Duration `key:"max_validity" default:"8760h" min:"1m" off:"true"`
	PerDay       int      `key:"per_day" default:"0" min:"0" max:"10000"`
	OfflineLimit Duration `key:"offline_limit" default:"72h" min:"1m" off:"true"`
	Bearer       bool     `key:"bearer" default:"false"`
	RemoteUnlock bool     `key:"remote_unlock" default:"false"`
	Knock        Duration `key:"knock" default:"off" max:"2m" off:"true"`

	Approval        string `key:"approval" default:"off" oneof:"off ask"`
	ApprovalSilence string `key:"approval_silence" default:"deny" oneof:"deny approve"`

	AllowStaticCredentials bool `key:"allow_static_credentials" default:"false"`

	// KeySet is the content of the file that Keys names.
	KeySet []byte `key:"-"`
	// SetAside is why nothing of the issuer is believed; "": it is. See Opts.SetAside.
	SetAside string `key:"-"`
}

// Window is policy hours.
type Window struct {
	Days []gateway.Weekday `key:"days" required:"true"`
	From gateway.Clock     `key:"from" required:"true"`
	To   gateway.Clock     `key:"to" required:"true"`
}

// Cloud is the mailbox.
type Cloud struct {
	URL string `key:"url"`
	CA  string `key:"ca"`
}

// Duration is a time.Duration that is written with its unit; "off" is zero.
type Duration time.Duration

// UnmarshalText takes "4s", "72h", "1h30m".
func (d *Duration) UnmarshalText(b []byte) error {
	if string(b) == "off" {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration", b)
	}
	*d = Duration(v)
	return nil
}

// Zone is the gateway's time zone.
func (c *Config) Zone() *time.Location {
	loc, err := time.LoadLocation(c.Gateway.TimeZone)
	if err != nil {
		panic(err) // Load has checked it
	}
	return loc
}

// Policy gives the words' policy of an issuer.
func (i *Issuer) Policy() gateway.Policy {
	p := gateway.Policy{OneTimeOnly: i.OneTimeOnly, MaxValidity: time.Duration(i.MaxValidity), PerDay: i.PerDay,
		OfflineLimit: time.Duration(i.OfflineLimit), Bearer: i.Bearer, RemoteUnlock: i.RemoteUnlock,
		Knock: time.Duration(i.Knock), StaticCredentials: i.AllowStaticCredentials}
	if i.Approval == "ask" {
		p.Approval = cmp.Or(gateway.Approval(i.ApprovalSilence), gateway.SilenceDenies)
	}
	for _, d := range i.Doors {
		p.Doors = append(p.Doors, gateway.DoorID(d))
	}
	for _, w := range i.Hours {
		p.Hours = append(p.Hours, gateway.Window(w))
	}
	return p
}

// Simulated reports whether any door or reader is a simulated one.
func (c *Config) Simulated() bool {
	for _, r := range c.Readers {
		if r.Driver == "sim" {
			return true
		}
	}
	for _, d := range c.Doors {
		if d.Strike != nil && d.Strike.Driver == "sim" || d.Lock != nil && d.Lock.Driver == "sim" ||
			d.Contact != nil && d.Contact.Driver == "sim" || d.REX != nil && d.REX.Driver == "sim" {
			return true
		}
	}
	return false
}

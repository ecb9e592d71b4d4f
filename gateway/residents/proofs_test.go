package residents_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
	"gardien/gateway/tokens"
)

const url = "https://gardien-k7q2.local:8443/v1/doors/front/unlock"

var phone = gateway.Resident{ID: "ada", Name: "Ada", Role: gateway.RoleResident, Key: "K", Ver: 1}

// act is a proof of the phone's for the next request.
func act(r *residents.Residents, jti string) gateway.DPoP {
	return gateway.DPoP{Key: "K", Method: "POST", URL: url, ID: jti, Nonce: r.Nonce()}
}

// Contract §9: a proof is of the device's key, for this method and this URL, with a nonce of now.
func TestProve(t *testing.T) {
	const upper = "HTTPS://Gardien-K7Q2.LOCAL:8443/v1/doors/front/unlock"
	r, _, _ := room()
	for name, tt := range map[string]struct {
		edit func(*gateway.DPoP)
		want error
	}{
		"as it should be":               {func(*gateway.DPoP) {}, nil},
		"host in upper case":            {func(d *gateway.DPoP) { d.URL = upper }, nil},
		"another key":                   {func(d *gateway.DPoP) { d.Key = "K2" }, residents.ErrProof},
		"no key":                        {func(d *gateway.DPoP) { d.Key = "" }, residents.ErrProof},
		"another method":                {func(d *gateway.DPoP) { d.Method = "DELETE" }, residents.ErrProof},
		"method in lower case":          {func(d *gateway.DPoP) { d.Method = "post" }, residents.ErrProof},
		"path in upper case":            {func(d *gateway.DPoP) { d.URL = strings.Replace(url, "unlock", "Unlock", 1) }, residents.ErrProof},
		"another door":                  {func(d *gateway.DPoP) { d.URL = strings.Replace(url, "front", "cellar", 1) }, residents.ErrProof},
		"another host":                  {func(d *gateway.DPoP) { d.URL = strings.Replace(url, "k7q2", "aaaa", 1) }, residents.ErrProof},
		"another port":                  {func(d *gateway.DPoP) { d.URL = strings.Replace(url, ":8443", "", 1) }, residents.ErrProof},
		"another scheme":                {func(d *gateway.DPoP) { d.URL = strings.Replace(url, "https", "http", 1) }, residents.ErrProof},
		"with a query":                  {func(d *gateway.DPoP) { d.URL += "?" }, residents.ErrProof},
		"path escaped":                  {func(d *gateway.DPoP) { d.URL = strings.Replace(url, "front", "%66ront", 1) }, residents.ErrProof},
		"the path alone":                {func(d *gateway.DPoP) { d.URL = "/v1/doors/front/unlock" }, residents.ErrProof},
		"no URL":                        {func(d *gateway.DPoP) { d.URL = "" }, residents.ErrProof},
		"the host alone":                {func(d *gateway.DPoP) { d.URL = "https://gardien-k7q2.local:8443" }, residents.ErrProof},
		"no nonce":                      {func(d *gateway.DPoP) { d.Nonce = "" }, residents.ErrNonce},
		"a wrong nonce and another key": {func(d *gateway.DPoP) { d.Nonce, d.Key = "", "K2" }, residents.ErrProof},
	} {
		d := act(r, name)
		tt.edit(&d)
		if err := r.Prove(phone, "POST", url, signed(d)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := r.Prove(phone, "POST", url, ""); !errors.Is(err, residents.ErrNonce) {
		t.Errorf("no proof: %v", err)
	}
	if err := r.Prove(phone, "POST", url, "{"); !errors.Is(err, residents.ErrProof) {
		t.Errorf("no DPoP: %v", err)
	}
	keyless := phone
	keyless.Key = ""
	if err := r.Prove(keyless, "POST", url, signed(act(r, "keyless"))); !errors.Is(err, residents.ErrProof) {
		t.Errorf("a device without a key: %v", err)
	}
}

// Contract §9: a jti is good once: each proof, with the same nonce and with another; but a proof that
// was refused has not spent it, and somebody else's key has jtis of its own.
func TestProofsAreGoodOnce(t *testing.T) {
	r, _, c := room()
	d := act(r, "jti")
	refused := d
	refused.URL += "x"
	if err := r.Prove(phone, "POST", url, signed(refused)); !errors.Is(err, residents.ErrProof) {
		t.Error(err)
	}
	for i, want := range []error{nil, residents.ErrProof, residents.ErrProof} {
		if err := r.Prove(phone, "POST", url, signed(d)); !errors.Is(err, want) {
			t.Errorf("%d: %v", i, err)
		}
	}
	c.add(residents.NonceFor)
	if err := r.Prove(phone, "POST", url, signed(act(r, "jti"))); !errors.Is(err, residents.ErrProof) {
		t.Errorf("with another nonce: %v", err)
	}
	d.Key, d.Nonce = "K2", r.Nonce()
	if err := r.Prove(gateway.Resident{ID: "ben", Key: "K2"}, "POST", url, signed(d)); err != nil {
		t.Errorf("another key: %v", err)
	}
}

// Contract §9: a nonce is good for five minutes, from this process only, and nobody makes one.
func TestNonces(t *testing.T) {
	r, _, c := room()
	c.add(time.Hour)
	n := 0
	with := func(nonce string) error {
		n++
		d := act(r, fmt.Sprint("jti ", n))
		d.Nonce = nonce
		return r.Prove(phone, "POST", url, signed(d))
	}
	first := r.Nonce()
	for _, after := range []time.Duration{0, 1, residents.NonceFor - 1} { // the last is after five minutes
		c.add(after)
		if err := with(first); err != nil {
			t.Errorf("%v later: %v", after, err)
		}
	}
	c.add(1)
	if err := with(first); !errors.Is(err, residents.ErrNonce) {
		t.Errorf("after five minutes: %v", err)
	}
	if err := with(r.Nonce()); err != nil {
		t.Errorf("a new one: %v", err)
	}
	other, _, oc := room()
	oc.add(c.since())
	if err := with(other.Nonce()); !errors.Is(err, residents.ErrNonce) {
		t.Errorf("of another process: %v", err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(r.Nonce())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(raw) {
		forged := append([]byte{}, raw...)
		forged[i/8] ^= 1 << (i % 8)
		if err := with(base64.RawURLEncoding.EncodeToString(forged)); !errors.Is(err, residents.ErrNonce) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
	for _, forged := range []string{"", "x", base64.RawURLEncoding.EncodeToString(raw[:23]), base64.RawURLEncoding.EncodeToString(append(raw, 0)),
		base64.RawURLEncoding.EncodeToString(raw[8:]), base64.StdEncoding.EncodeToString(raw) + "=", strings.Repeat("A", 32)} {
		if err := with(forged); !errors.Is(err, residents.ErrNonce) {
			t.Errorf("%q: %v", forged, err)
		}
	}
}

// walk is a story of acts at random instants, and a list of all of them.
type walk struct {
	*residents.Residents
	*clock
	rng    *rand.Rand
	nonces []string
	given  map[string]time.Duration // nonce → when
	acts   []gateway.DPoP           // that were tried
	last   map[string]time.Duration // jti → when it was spent last
	spent  map[gateway.DPoP]bool    // proofs that were good
}

// The memory of two generations against a naive list: no proof is good twice, no jti within five
// minutes of its spend, and nothing is refused that is new.
func TestProofsAgainstANaiveList(t *testing.T) {
	for seed := range uint64(40) {
		r, _, c := room()
		c.add(time.Duration(seed) * time.Hour)
		w := &walk{r, c, rand.New(rand.NewPCG(seed, 0)), nil, map[string]time.Duration{}, nil, map[string]time.Duration{}, map[gateway.DPoP]bool{}}
		var good, again, old, forgotten int
		for range 1000 {
			d, problem, err := w.step()
			switch {
			case problem != "":
				t.Fatalf("seed %d, at %v: %s: %v", seed, c.since(), problem, err)
			case err == nil && w.spent[d]:
				t.Fatalf("seed %d, at %v: a proof is good twice", seed, c.since())
			case err == nil:
				if _, was := w.last[d.ID]; was {
					forgotten++
				}
				good++
				w.last[d.ID], w.spent[d] = c.since(), true
			case errors.Is(err, residents.ErrProof):
				again++
			default:
				old++
			}
		}
		if good < 200 || again < 100 || old < 100 || forgotten == 0 {
			t.Errorf("seed %d: %d good (%d of them forgotten), %d again, %d too old: the walk shows too little", seed, good, forgotten, again, old)
		}
	}
}

// step moves the clock, and presents a proof: a new one, one of before, or one with a jti of before.
func (w *walk) step() (d gateway.DPoP, problem string, err error) {
	recent := func(n, of int) int { return max(0, n-1-w.rng.IntN(of)) }
	switch w.rng.IntN(30) {
	case 0:
		w.add([]time.Duration{residents.NonceFor - 1, residents.NonceFor, residents.NonceFor + 1, 2 * residents.NonceFor}[w.rng.IntN(4)])
	default:
		w.add(time.Duration(w.rng.IntN(int(30 * time.Second))))
	}
	now := w.since()
	w.nonces = append(w.nonces, w.Nonce())
	w.given[w.Nonce()] = now
	d = gateway.DPoP{Key: "K", Method: "POST", URL: url, ID: fmt.Sprint("jti ", len(w.acts)), Nonce: w.nonces[recent(len(w.nonces), 20)]}
	if len(w.acts) > 0 {
		switch w.rng.IntN(4) {
		case 0:
			d.ID = w.acts[recent(len(w.acts), 40)].ID
		case 1:
			d = w.acts[recent(len(w.acts), 20)]
		}
	}
	w.acts = append(w.acts, d)
	last, was := w.last[d.ID]
	err = w.Prove(phone, "POST", url, signed(d))
	switch stale := now-w.given[d.Nonce] > residents.NonceFor; {
	case stale != errors.Is(err, residents.ErrNonce):
		problem = fmt.Sprintf("a nonce of %v", now-w.given[d.Nonce])
	case err == nil && was && now-last <= residents.NonceFor:
		problem = fmt.Sprintf("a jti is good again %v later", now-last)
	case err != nil && !stale && !was:
		problem = "a new proof"
	}
	return d, problem, err
}

// Whatever the order in which many present the same proofs, while the clock runs: each is good once,
// and no other is refused.
func TestProofsAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		r, _, c := room()
		const proofs, presenters = 100, 8
		var texts [proofs]string
		var good [proofs]atomic.Int32
		for i := range texts {
			c.add(time.Second)
			texts[i] = signed(act(r, fmt.Sprint(i)))
		}
		var all sync.WaitGroup
		for p := range presenters {
			rng := rand.New(rand.NewPCG(seed, uint64(p)))
			all.Go(func() {
				for _, i := range rng.Perm(proofs) {
					switch err := r.Prove(phone, "POST", url, texts[i]); {
					case err == nil:
						good[i].Add(1)
					case !errors.Is(err, residents.ErrProof):
						t.Error(err)
					}
					c.add(time.Duration(rng.IntN(int(residents.NonceFor-proofs*time.Second) / (proofs * presenters))))
				}
			})
		}
		all.Wait()
		for i := range good {
			if n := good[i].Load(); n != 1 {
				t.Errorf("seed %d: proof %d is good %d times", seed, i, n)
			}
		}
	}
}

// A device that acts without end is bounded for five minutes, and nobody else is.
func TestActsOfOneDevice(t *testing.T) {
	r, _, c := room()
	neighbour := gateway.Resident{ID: "ben", Key: "K2"}
	n := 0
	prove := func(device gateway.Resident) error {
		n++
		d := act(r, fmt.Sprint(n))
		d.Key = device.Key
		return r.Prove(device, "POST", url, signed(d))
	}
	until := func() (acts int) {
		for {
			switch err := prove(phone); {
			case errors.Is(err, residents.ErrActs):
				return acts
			case err != nil:
				t.Fatal(err)
			}
			acts++
		}
	}
	if acts := until(); acts != 8192 {
		t.Errorf("%d acts", acts)
	}
	if err := prove(neighbour); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	c.add(residents.NonceFor) // a moment too early
	if err := prove(phone); !errors.Is(err, residents.ErrActs) {
		t.Errorf("within five minutes: %v", err)
	}
	c.add(1)
	if acts := until(); acts != 8192 {
		t.Errorf("after five minutes: %d acts", acts)
	}
	if err := prove(neighbour); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	c.add(residents.NonceFor + 1)
	if err := prove(neighbour); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	c.add(residents.NonceFor + 1)
	if err := prove(neighbour); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	if used := r.Used(); used != 2 {
		t.Errorf("%d proofs are remembered for ever", used)
	}
}

// The room with real keys and real proofs: what a browser signs is taken once, and pairs with its key.
func TestProofsOfARealKey(t *testing.T) {
	o := opts(&residents.Fake{}, &clock{})
	o.Key = tokens.ParseHolder
	o.Proof = func(text string) (gateway.DPoP, error) {
		d, refusal := tokens.ParseDPoP(text)
		if refusal != nil {
			return d, refusal
		}
		return d, nil
	}
	r := residents.New(o)
	key, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pair(t.Context(), residents.Ask{Secret: r.OpenWindow(gateway.RoleResident).Secret, Name: "Ada", JWK: private}); !errors.Is(err, residents.ErrKey) {
		t.Errorf("a private key: %v", err)
	}
	public := map[string]any{}
	if err := json.Unmarshal(private, &public); err != nil {
		t.Fatal(err)
	}
	delete(public, "d")
	jwk, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	p := settledAs(t, r, gateway.RoleResident, residents.Ask{Name: "Ada", JWK: jwk, Cookie: true})
	ada, _, err := r.Authenticate(t.Context(), p.Token)
	if err != nil || ada.Key != key.KeyID() {
		t.Fatalf("%+v, %v", ada, err)
	}
	text, err := tokens.SignDPoP(key, "POST", url, r.Nonce())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, residents.ErrProof} {
		if err := r.Prove(ada, "POST", url, text); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	if text, err = tokens.SignDPoP(key, "POST", url, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Prove(ada, "POST", url, text); !errors.Is(err, residents.ErrNonce) {
		t.Errorf("without a nonce: %v", err)
	}
	if err := r.Prove(ada, "POST", url, strings.Replace(text, ".", "..", 1)); !errors.Is(err, residents.ErrProof) {
		t.Errorf("no JWS: %v", err)
	}
}

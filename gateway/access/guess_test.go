package access_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
)

// What a third party learns and takes by the PINs and cards that it sends (P1, I2).

func (h *house) digits(s string) gateway.PIN {
	h.t.Helper()
	p, err := gateway.NewPIN(s)
	h.check(err)
	return p
}

// with gives a grant a PIN and doors.
func with(pin gateway.PIN, doors ...gateway.DoorID) func(*gateway.Grant) {
	return func(g *gateway.Grant) {
		if g.PIN = pin; len(doors) > 0 {
			g.Doors = doors
		}
	}
}

// neighbour configures a second third party, for all doors.
func (h *house) neighbour() {
	h.rules.Issuers = maps.Clone(h.rules.Issuers)
	h.rules.Issuers[menageY] = gateway.Issuer{ID: menageY, Policy: gateway.Policy{Doors: []gateway.DoorID{"front", "side"}, StaticCredentials: true}}
	h.sharers(2)
}

func (h *house) sharers(n int) {
	h.rules.Sharers = map[gateway.DoorID]int{"front": n, "side": n}
	h.SetRules(h.rules)
}

func ofNeighbour(change func(*gateway.Grant)) func(*gateway.Grant) {
	return func(g *gateway.Grant) { change(g); g.ID.Issuer = menageY }
}

// sends hands a grant in and gives the whole answer but for the grant's name.
func (h *house) sends(text string) access.Intake {
	h.t.Helper()
	in, err := h.Take(h.t.Context(), text)
	h.check(err)
	in.ID = gateway.GrantID{}
	return in
}

// sameAnswers holds that every answer is the first one.
func sameAnswers(t *testing.T, answers map[string]access.Intake, want access.Intake) {
	t.Helper()
	for name, got := range answers {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is told by the answer (-want +got):\n%s", name, diff)
		}
	}
}

// TestI2_NothingIsLearntOfOtherDoors: an issuer that is confined to one door sends versions of one
// grant for another door, with guessed PINs. Whether a PIN is a resident's, a neighbour's or
// nobody's, the answer is the same, nothing is compared, and everybody else's PINs go on opening.
func TestI2_NothingIsLearntOfOtherDoors(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Doors = []gateway.DoorID{"front"} }, func(h *house) {
		h.rules.Doors = []gateway.DoorID{"front", "side"}
		h.neighbour()
		_, residents := h.home(access.HomeGrant{Doors: []gateway.DoorID{"side"}, PIN: true})
		theirs := h.digits("12345678")
		h.takes(h.grant("n1", ofNeighbour(with(theirs, "side"))), "accepted")
		before, answers := h.finds.Load(), map[string]access.Intake{}
		guesses := map[string]gateway.PIN{"a resident's PIN": residents, "a neighbour's PIN": theirs, "nobody's PIN of six": h.digits("999999"), "nobody's PIN of eight": h.digits("99999999")}
		ver := int64(0)
		for name, pin := range guesses {
			ver++
			answers[name] = h.sends(h.version(ver, gateway.GrantActive, with(pin, "side")))
		}
		sameAnswers(t, answers, access.Intake{Result: "accepted"})
		if h.finds.Load() != before {
			t.Errorf("%d codes were compared", h.finds.Load()-before)
		}
		if n := h.livePINs("side"); n != 2 {
			t.Errorf("%d live PINs at side, want the resident's and the neighbour's", n)
		}
		for _, pin := range []gateway.PIN{residents, theirs} {
			if r := h.types("side", pin); r != "" {
				t.Errorf("a PIN that was guessed: %s", r)
			}
			h.doors.Pass("side")
		}
	})
}

// TestI2_NothingIsLearntOfHome: at its own door, too, an issuer cannot try a resident's PIN: it has
// another length, and that is all that the answer says.
func TestI2_NothingIsLearntOfHome(t *testing.T) {
	live(t, nil, func(h *house) {
		answers := map[string]access.Intake{}
		for range 4 { // two of six digits, two of seven
			_, pin := h.home(access.HomeGrant{PIN: true})
			answers["a resident's PIN "+pin.Reveal()] = h.sends(h.grant("g1", with(pin)))
			other := gateway.DrawPIN(pin.Len())
			answers["nobody's PIN "+other.Reveal()] = h.sends(h.grant("g1", with(other)))
		}
		sameAnswers(t, answers, access.Intake{Result: "rejected", Refusal: &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: "want 8 digits"}})
	})
}

// unfit is the one answer to a PIN that cannot be used.
var unfit = access.Intake{Result: "rejected", Refusal: &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: "the PIN cannot be used here: draw another"}}

// TestI2_NobodyIsCrowdedOut: an issuer that fills its places until 2100 takes none of home's, none
// of another's, and none of one that is configured later; when it is configured no more, it goes on
// taking nobody's.
func TestI2_NobodyIsCrowdedOut(t *testing.T) {
	live(t, nil, func(h *house) {
		for n := range 200 {
			h.takes(h.grant(fmt.Sprint("fill-", n), func(g *gateway.Grant) {
				g.PIN, g.NotAfter = h.digits(fmt.Sprint(10_000_000+n)), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
			}), "accepted")
		}
		time.Sleep(24 * time.Hour) // a day's tries are not what is in the way
		sameAnswers(t, map[string]access.Intake{"the 201st": h.sends(h.grant("one-more", with(h.digits("55555555"))))}, unfit)
		h.neighbour()
		for _, gone := range []bool{false, true} {
			if gone {
				delete(h.rules.Issuers, colisX)
				h.sharers(1)
			}
			if _, pin := h.home(access.HomeGrant{PIN: true}); pin.Len() != 6 || h.types("front", pin) != "" {
				t.Errorf("home's PIN of %d digits, want one of six that opens", pin.Len())
			}
			h.doors.Pass("front")
			pin := gateway.DrawPIN(8)
			h.takes(h.grant(fmt.Sprint("n", gone), ofNeighbour(with(pin))), "accepted")
			if r := h.types("front", pin); r != "" {
				t.Errorf("the neighbour's PIN: %s", r)
			}
			h.doors.Pass("front")
		}
	})
}

// TestI2_GuessesOfADay: an issuer tries 200 different PINs a day, however it tries them: as new
// grants, as one version again and again, at a reader. Taken, too many and one try too many are
// told alike. What is its own already is no try.
func TestI2_GuessesOfADay(t *testing.T) {
	live(t, nil, func(h *house) {
		h.neighbour()
		taken := h.digits("12345678")
		own := func(ver int64) func(*gateway.Grant) {
			return func(g *gateway.Grant) {
				g.Version, g.PIN, g.NotAfter = ver, h.digits("87654321"), g.NotBefore.Add(72*time.Hour)
			}
		}
		h.takes(h.grant("own", own(1)), "accepted")
		time.Sleep(24 * time.Hour)
		h.takes(h.grant("n1", ofNeighbour(with(taken))), "accepted")
		answers := map[string]access.Intake{"a PIN that is taken": h.sends(h.grant("g1", with(taken)))}
		answers["the same try again"] = h.sends(h.grant("g1", with(taken)))
		h.sharers(200) // one place each
		for n := range 99 {
			answers["no place is left"] = h.sends(h.grant("g1", with(h.digits(fmt.Sprint(20_000_000+n))))) // ver 1 for ever
		}
		for n := range 99 {
			if r := h.scan(h.grant("g1", with(h.digits(fmt.Sprint(30_000_000+n))))); r != gateway.BeyondPolicy {
				t.Fatalf("at a reader: %q", r)
			}
		}
		if r := h.scan(h.grant("g1", with(h.digits("39999999")))); r != gateway.BeyondPolicy {
			t.Errorf("the 200th, at a reader: %q", r)
		}
		h.sharers(1)
		answers["the 201st"] = h.sends(h.grant("fresh", with(h.digits("44444444"))))
		answers["a PIN that is taken, as the 202nd"] = h.sends(h.grant("g1", with(h.digits("12345678"))))
		sameAnswers(t, answers, unfit)
		h.takes(h.grant("own", own(2)), "accepted")
		h.takes(h.grant("n2", ofNeighbour(with(h.digits("66666666")))), "accepted") // its own tries
		if _, pin := h.home(access.HomeGrant{PIN: true}); pin.IsZero() {
			t.Error("no PIN at home")
		}
		h.stop()
		h.start() // the count is durable
		sameAnswers(t, map[string]access.Intake{"after a restart": h.sends(h.grant("fresh", with(h.digits("44444444"))))}, unfit)
		time.Sleep(24 * time.Hour)
		h.takes(h.grant("fresh", with(h.digits("44444444"))), "accepted")
	})
}

// TestI2_CardsOfADay: the 21st different card of a day is refused as one that is taken is. Home's
// are not counted.
func TestI2_CardsOfADay(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.StaticCredentials = true }, func(h *house) {
		card := func(n uint64) func(*gateway.Grant) {
			return func(g *gateway.Grant) { g.Card = gateway.NewCard(26, 123, n) }
		}
		for n := range uint64(25) {
			h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 1000+n)})
		}
		answers := map[string]access.Intake{"a resident's card": h.sends(h.grant("g1", card(1000)))}
		for n := range uint64(19) {
			h.takes(h.grant(fmt.Sprint("c", n), card(n)), "accepted")
		}
		answers["the 21st"] = h.sends(h.grant("g1", card(77)))
		sameAnswers(t, answers, access.Intake{Result: "rejected", Refusal: &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: "the card cannot be used here"}})
		h.takes(h.grant("c1", func(g *gateway.Grant) { card(1)(g); g.Version = 2 }), "accepted")
		if r := h.card(1000); r != "" {
			t.Errorf("the resident's card: %s", r)
		}
	})
}

// TestP1_NoClassIsOverfull: whoever makes PINs, and in which order, each class of each length stays
// within the chance of a guess, live × 50 / 10^L ≤ 10⁻⁴, and no PIN has a length of the other's.
func TestP1_NoClassIsOverfull(t *testing.T) {
	live(t, nil, func(h *house) {
		h.rules.PINs = map[gateway.DoorID]gateway.PINLengths{"side": {Home: []int{6}, ThirdParty: []int{7, 10}}}
		h.neighbour()
		r := rand.New(rand.NewPCG(1, 27))
		doors := []gateway.DoorID{"front", "side"}
		ends := time.Now().Add(time.Hour)
		for n := range 160 {
			door := doors[n%2]
			if n < 8 {
				_, err := h.Home(h.t.Context(), access.HomeGrant{Doors: []gateway.DoorID{door}, PIN: true, NotAfter: ends})
				if full := door == "side" && n >= 4; (refused(err) == gateway.BeyondPolicy) != full {
					t.Errorf("home's PIN %d at %s: %v", n, door, err)
				}
				continue
			}
			change := with(gateway.DrawPIN([]int{6, 7, 7, 8, 10}[r.IntN(5)]), door)
			if r.IntN(2) == 0 {
				change = ofNeighbour(change)
			}
			h.sends(h.grant(fmt.Sprint("g", n), change))
		}
		for door, want := range map[gateway.DoorID]gateway.PINLengths{"front": gateway.DefaultPINLengths(), "side": h.rules.PINs["side"]} {
			for length, space := 6, 1_000_000; length <= 10; length, space = length+1, space*10 {
				third := h.liveOf(door, length, colisX, menageY)
				for iss, n := range map[gateway.IssuerID]int{gateway.HomeIssuer: h.liveOf(door, length, gateway.HomeIssuer), colisX: third} {
					if n*50*10_000 > space {
						t.Errorf("%s: %d live PINs of %d digits by %s are too many", door, n, length, iss)
					}
					if n > 0 && len(gateway.CommonPINLengths([]int{length}, want.Of(iss))) == 0 {
						t.Errorf("%s: PINs of %d digits by %s", door, length, iss)
					}
				}
			}
		}
	})
}

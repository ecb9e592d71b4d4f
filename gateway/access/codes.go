package access

import (
	"fmt"
	"slices"

	"gardien/gateway"
)

// The new PINs and cards that an issuer may try in a day: each is a guess at somebody else's (I2).
const (
	pinsADay  = 200
	cardsADay = 20
)

// What a refusal of a PIN or card says to issuers, whatever the reason: neither which one is taken
// nor how many there are.
const (
	pinUnfit  = "the PIN cannot be used here: draw another"
	cardUnfit = "the card cannot be used here"
)

// pinLengths gives the lengths that an issuer's PINs may have at a door.
func (r *Rules) pinLengths(door gateway.DoorID, iss gateway.IssuerID) []int {
	lengths, named := r.PINs[door]
	if !named {
		lengths = gateway.DefaultPINLengths()
	}
	return lengths.Of(iss)
}

// share is how many live PINs of a length an issuer may have at a door: home all that the length
// allows, a third party its part of them.
func (r *Rules) share(door gateway.DoorID, iss gateway.IssuerID, length int) int {
	most := gateway.PINCapacity(length)
	if iss == gateway.HomeIssuer {
		return most
	}
	return most / max(1, r.Sharers[door])
}

// mayUseCards reports whether an issuer has leave for cards. Without, its cards are compared with
// nothing, open nothing, and stand in nobody's way.
func (c *documents) mayUseCards(iss gateway.IssuerID) bool {
	return iss == gateway.HomeIssuer || c.rules.Load().Issuers[iss].Policy.StaticCredentials
}

// codesAt lists the doors that a grant's PIN and card are for: those of this gateway, and, of a
// third party's grant, of its policy alone. For the others nothing is kept and nothing compared.
func (c *documents) codesAt(g gateway.Grant) []gateway.DoorID {
	if g.ID.Issuer == gateway.HomeIssuer {
		return c.here(g)
	}
	allowed := c.rules.Load().Issuers[g.ID.Issuer].Policy.Doors
	return slices.DeleteFunc(c.here(g), func(d gateway.DoorID) bool { return !slices.Contains(allowed, d) })
}

// refusePIN holds a new PIN against the lengths, places and live PINs of each door (P1, P11, I2).
// noted says that the try was counted.
func (c *documents) refusePIN(tx Tx, g gateway.Grant, at gateway.Reading) (refusal *gateway.Refusal, noted bool) {
	rules, doors, n := c.rules.Load(), c.codesAt(g), g.PIN.Len()
	for _, door := range doors {
		if lengths := rules.pinLengths(door, g.ID.Issuer); !slices.Contains(lengths, n) {
			return &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: "want " + gateway.Digits(lengths)}, false
		}
	}
	code := newCode{
		mac:   func(door gateway.DoorID) []byte { return c.mac.pin(door, g.PIN) },
		guess: gateway.Guess{Issuer: g.ID.Issuer, Day: rules.day(at), Most: pinsADay},
		text:  g.PIN.Secret,
	}
	fate, noted := c.try(tx, g.ID, doors, code)
	full := func(door gateway.DoorID) bool {
		return tx.Codes.Live(g.ID, door, n) >= rules.share(door, g.ID.Issuer, n)
	}
	if fate == codeRefused || fate == codeNew && slices.ContainsFunc(doors, full) {
		return &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: pinUnfit}, noted
	}
	return nil, noted
}

// refuseCard holds a new card against the live ones of each door: one card, one grant. Residents
// are told which door it opens already.
func (c *documents) refuseCard(tx Tx, g gateway.Grant, at gateway.Reading) (refusal *gateway.Refusal, noted bool) {
	if !c.mayUseCards(g.ID.Issuer) {
		return nil, false
	}
	fate, noted := c.try(tx, g.ID, c.codesAt(g), newCode{
		mac:   func(door gateway.DoorID) []byte { return c.mac.card(door, g.Card) },
		guess: gateway.Guess{Issuer: g.ID.Issuer, Day: c.rules.Load().day(at), Card: true, Most: cardsADay},
		text:  g.Card.Secret,
	})
	if fate != codeRefused {
		return nil, noted
	}
	detail := cardUnfit
	if g.ID.Issuer == gateway.HomeIssuer {
		detail = fmt.Sprintf("the card opens one of %v by another grant already: revoke that one first", c.here(g))
	}
	return &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: detail}, noted
}

// newCode is a PIN or card that a version of a grant brings.
type newCode struct {
	mac   func(gateway.DoorID) []byte
	guess gateway.Guess // without its hash
	text  gateway.Secret
}

type codeFate int

const (
	codeOwn     codeFate = iota // it is the grant's at each of the doors: nothing is learnt of it
	codeNew                     // it is nobody's
	codeRefused                 // it is somebody else's, or one try too many
)

// try compares a code with the live ones of doors. What a third party tries is counted, be it
// refused or not; noted says that it was.
func (c *documents) try(tx Tx, id gateway.GrantID, doors []gateway.DoorID, code newCode) (fate codeFate, noted bool) {
	own, taken := true, false
	for _, door := range doors {
		p, live := tx.Codes.Find(door, code.mac(door))
		if live && p.Grant != id && p.Length == 0 && !c.mayUseCards(p.Grant.Issuer) {
			tx.Codes.Wipe(p.Grant)
			live = false
		}
		own = own && live && p.Grant == id
		taken = taken || live && p.Grant != id
	}
	if own {
		return codeOwn, false
	}
	if id.Issuer != gateway.HomeIssuer {
		code.guess.MAC = c.mac.guess(code.guess, code.text)
		var within bool
		if within, noted = tx.Codes.Guess(code.guess); !within {
			return codeRefused, noted
		}
	}
	if taken {
		return codeRefused, noted
	}
	return codeNew, noted
}

// keepCodes makes a grant's PIN and card live, and nothing else of it.
func (c *documents) keepCodes(tx Tx, g gateway.Grant, m making) {
	tx.Codes.Wipe(g.ID)
	if g.Status != gateway.GrantActive {
		return
	}
	p := gateway.PINRecord{Grant: g.ID, Owner: m.owner, Duress: m.duress}
	if !g.Card.IsZero() {
		for _, p.Door = range c.codesAt(g) {
			mac := c.mac.card(p.Door, g.Card)
			if _, taken := tx.Codes.Find(p.Door, mac); !taken { // it is only where there is no leave for it
				tx.Codes.Put(p, mac)
			}
		}
	}
	if p.Length = g.PIN.Len(); p.Length > 0 {
		for _, p.Door = range c.codesAt(g) {
			tx.Codes.Put(p, c.mac.pin(p.Door, g.PIN))
		}
	}
}

package access

import (
	"encoding/json"
	"fmt"
	"gardien/gateway"
)

// keyedHash is a MAC under the device key; purpose keeps one use from another.
type keyedHash func(purpose string, parts ...string) []byte

// pin and card are what the database knows of a code at a door (P6).
func (m keyedHash) pin(door gateway.DoorID, pin gateway.PIN) []byte {
	return m("pin", string(door), pin.Reveal())
}

func (m keyedHash) card(door gateway.DoorID, card gateway.Card) []byte {
	return m("card", string(door), card.Reveal())
}

// guess is what tells an issuer's tries of one day apart.
func (m keyedHash) guess(g gateway.Guess, code gateway.Secret) []byte {
	return m("guess", string(g.Issuer), g.Day, fmt.Sprint(g.Card), code.Reveal())
}

// grant hashes all claims: it tells an equal version with other claims
// without keeping the PIN or the reference.
func (m keyedHash) grant(g gateway.Grant) []byte {
	pin, card := g.PIN.Reveal(), g.Card.Reveal()
	g.PIN, g.Card = gateway.PIN{}, gateway.Card{}
	b, err := json.Marshal(struct {
		gateway.Grant
		PIN, Card string
	}{g, pin, card})
	if err != nil {
		panic(err) // every field of a parsed grant can be written
	}
	return m("grant", string(b))
}

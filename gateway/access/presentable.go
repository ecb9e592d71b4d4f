package access

import (
	"fmt"
	"slices"
	"strings"

	"gardien/gateway"
)

// Reader is one at a door. PINs are typed or scanned at each.
type Reader struct {
	ID    gateway.ReaderID
	Cards bool // it reads cards
	Texts bool // it scans the texts of grants
}

// means is what could present a grant at a door.
type means struct {
	pin, card bool // live there
	text      bool // its text, as a code that is scanned
	holder    bool // its holder's phone
}

func meansOf(g *gateway.Grant, p gateway.Policy, pin, card bool) means {
	return means{pin: pin, card: card, text: p.Bearer && g.Holder == "" && g.ID.Issuer != gateway.HomeIssuer, holder: g.Holder != ""}
}

// work reports whether some of them do at a door's readers; at says which.
func (m means) work(readers []Reader) bool {
	return m.holder || slices.ContainsFunc(readers, func(r Reader) bool { return m.pin || m.card && r.Cards || m.text && r.Texts })
}

// at names the means that work at a door's readers, and those that no reader of it takes.
func (m means) at(readers []Reader) (ways, without []string) {
	for _, way := range []struct {
		is    bool
		what  string
		takes func(Reader) bool
	}{
		{m.pin, "a PIN", func(Reader) bool { return true }},
		{m.card, "a card", func(r Reader) bool { return r.Cards }},
		{m.text, "its text as a code", func(r Reader) bool { return r.Texts }},
	} {
		var at []string
		for _, r := range readers {
			if way.is && way.takes(r) {
				at = append(at, string(r.ID))
			}
		}
		switch {
		case len(at) > 0:
			ways = append(ways, fmt.Sprintf("%s at reader %s", way.what, strings.Join(at, ", ")))
		case way.is:
			without = append(without, way.what)
		}
	}
	if m.holder {
		ways = append(ways, "its holder's phone")
	}
	return ways, without
}

// presentable says what can present a grant at a door now. A grant that nothing can present opens
// for nobody, whatever else speaks for it.
func presentable(rules *Rules, tx Tx, f *Facts) Check {
	id, door := f.Grant.ID, f.Door
	_, pin := tx.Codes.Of(id, door)
	ways, without := meansOf(&f.Grant.Grant, f.Policy, pin, tx.Codes.HasCard(id, door)).at(rules.Readers[door])
	check := Check{Name: "presentable", OK: len(ways) > 0, Detail: strings.Join(ways, "; ")}
	if !check.OK {
		check.Reason, check.Detail = gateway.UnknownCredential, "nothing: no PIN or card of it is live at this door, and it names no holder"
		if len(without) > 0 {
			check.Detail = fmt.Sprintf("nothing: no reader of this door takes %s", strings.Join(without, " or "))
		}
	}
	return check
}

// GrantFacts is what a list says of a grant beside the grant itself.
type GrantFacts struct {
	// Presentable: something can present it now, at one of its doors at least.
	Presentable bool
	// Approval is whether residents are asked before it opens: of a third party's its policy says that.
	Approval gateway.Approval
}

// Look gives the facts of each grant of a list. Codes are the live PINs and cards of the list's grants.
func (c *Controller) Look(list []gateway.GrantRecord, codes []gateway.PINRecord) []GrantFacts {
	type place struct {
		grant gateway.GrantID
		door  gateway.DoorID
		card  bool
	}
	live := map[place]bool{}
	for _, p := range codes {
		live[place{p.Grant, p.Door, p.Length == 0}] = true
	}
	rules := c.rules.Load()
	out := make([]GrantFacts, len(list))
	for i := range list {
		g := &list[i].Grant
		policy := gateway.Policy{Approval: g.Approval}
		if g.ID.Issuer != gateway.HomeIssuer {
			policy = rules.Issuers[g.ID.Issuer].Policy
		}
		out[i].Approval = policy.Approval
		out[i].Presentable = slices.ContainsFunc(c.here(*g), func(d gateway.DoorID) bool {
			return meansOf(g, policy, live[place{g.ID, d, false}], live[place{g.ID, d, true}]).work(rules.Readers[d])
		})
	}
	return out
}

package access

import (
	"fmt"
	"strings"

	"gardien/gateway"
)

// Reader is one at a door. PINs are typed or scanned at each.
type Reader struct {
	ID    gateway.ReaderID
	Cards bool // it reads cards
	Texts bool // it scans the texts of grants
}

// presentable says what can present a grant at a door now. A grant that nothing can present opens
// for nobody, whatever else speaks for it.
func (c *Controller) presentable(tx Tx, f *Facts) Check {
	id, door := f.Grant.ID, f.Door
	readers := c.rules.Load().Readers[door]
	var ways, without []string
	add := func(what string, takes func(Reader) bool) {
		var at []string
		for _, r := range readers {
			if takes(r) {
				at = append(at, string(r.ID))
			}
		}
		if len(at) == 0 {
			without = append(without, what)
			return
		}
		ways = append(ways, fmt.Sprintf("%s at reader %s", what, strings.Join(at, ", ")))
	}
	if _, live := tx.Codes.Of(id, door); live {
		add("a PIN", func(Reader) bool { return true })
	}
	if tx.Codes.HasCard(id, door) {
		add("a card", func(r Reader) bool { return r.Cards })
	}
	if f.Policy.Bearer && f.Grant.Holder == "" && id.Issuer != gateway.HomeIssuer {
		add("its text as a code", func(r Reader) bool { return r.Texts })
	}
	if f.Grant.Holder != "" {
		ways = append(ways, "its holder's phone")
	}
	check := Check{Name: "presentable", OK: len(ways) > 0, Detail: strings.Join(ways, "; ")}
	if !check.OK {
		check.Reason, check.Detail = gateway.UnknownCredential, "nothing: no PIN or card of it is live at this door, and it names no holder"
		if len(without) > 0 {
			check.Detail = fmt.Sprintf("nothing: no reader of this door takes %s", strings.Join(without, " or "))
		}
	}
	return check
}

package daemon

import (
	"time"

	"gardien/gateway/api"
)

// backend turns what the rooms know into the wire's words, and the wire's into theirs.
func (g *Gateway) backend() api.Backend {
	return api.Backend{Doors: doorService{g}, Attempts: attemptService{g}, Grants: grantService{g}, Visits: visitService{g}, Record: recordService{g}, Issuers: issuerService{g},
		Residents: residentService{g}, Pairing: pairingService{g}, Sessions: sessionService{g}, Upkeep: upkeepService{g}, Mailbag: mailbagService{g}, Receipts: receiptService{g}, Health: healthService{g}}
}

// stamp writes an instant for people: RFC 3339 in the gateway's zone.
func (g *Gateway) stamp(t time.Time) string { return t.In(g.zone).Format(time.RFC3339) }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

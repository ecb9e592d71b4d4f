package main

import (
	"fmt"

	"gardien/gateway/api"
)

// policyLines say in English what an issuer may do.
func policyLines(p api.IssuerPolicy) []string {
	var lines []string
	add := func(on bool, format string, args ...any) {
		if on {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	add(p.OneTimeOnly, "one-time grants only")
	for _, w := range p.Hours {
		add(true, "hours: %v %s-%s", w.Days, w.From, w.To)
	}
	add(p.MaxValidity != nil, "valid for at most %s", or(p.MaxValidity, ""))
	if p.PerDay != nil {
		add(true, "at most %d entries a day", *p.PerDay)
	}
	add(p.OfflineLimit != nil, "stops %s after it was last heard from", or(p.OfflineLimit, ""))
	add(p.Bearer, "grants may be scanned at a reader")
	add(p.RemoteUnlock, "may unlock from afar")
	add(p.Knock != nil, "residents are asked first, for %s", or(p.Knock, ""))
	add(p.Approval == "ask", "residents have to approve; their silence says: %s", or(p.ApprovalSilence, "deny"))
	add(p.StaticCredentials, "cards are allowed")
	return lines
}

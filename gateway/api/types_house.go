package api

import (
	"strings"
	"time"

	"gardien/gateway"
)

// Health is what somebody should look at, the most urgent first.
type Health struct {
	Findings []Finding `json:"findings"`
}

// Finding is one thing to look at, in no human language.
type Finding struct {
	Key      string           `json:"key"`      // with the subject's id behind a point, if it has one: lock.jammed.front
	Severity gateway.Severity `json:"severity"` // info, today, now
	Subject  *string          `json:"subject"`  // id of a door, reader, issuer, grant, resident or task
	Since    string           `json:"since"`    // when it began, or was first seen by this process
	// SeenBy is a resident's id, or "console"; null: nobody has seen it yet, or it is not for whoever asks.
	SeenBy *string `json:"seen_by"`
}

// IssuerPolicy is a resident's limits on one issuer: every key of the configuration. Durations are
// written 72h; null where there is no limit, or nobody is asked.
type IssuerPolicy struct {
	Doors        []gateway.DoorID `json:"doors"`
	Hours        []gateway.Window `json:"hours"` // none: always
	OneTimeOnly  bool             `json:"one_time_only"`
	MaxValidity  *string          `json:"max_validity"`
	PerDay       *int             `json:"per_day"`
	OfflineLimit *string          `json:"offline_limit"`
	Bearer       bool             `json:"bearer"`
	RemoteUnlock bool             `json:"remote_unlock"`
	Knock        *string          `json:"knock"`
	Approval     string           `json:"approval"` // off, ask
	// ApprovalSilence is what the residents' silence says: deny, approve; null where they are not asked.
	ApprovalSilence   *string `json:"approval_silence"`
	StaticCredentials bool    `json:"allow_static_credentials"`
}

// PolicyOf writes a policy.
func PolicyOf(p gateway.Policy) IssuerPolicy {
	out := IssuerPolicy{Doors: append([]gateway.DoorID{}, p.Doors...), Hours: append([]gateway.Window{}, p.Hours...), OneTimeOnly: p.OneTimeOnly,
		MaxValidity: durationOrNull(p.MaxValidity), OfflineLimit: durationOrNull(p.OfflineLimit), Bearer: p.Bearer, RemoteUnlock: p.RemoteUnlock,
		Knock: durationOrNull(p.Knock), StaticCredentials: p.StaticCredentials}
	if p.PerDay > 0 {
		out.PerDay = &p.PerDay
	}
	out.Approval, out.ApprovalSilence = ApprovalOf(p.Approval)
	return out
}

// ApprovalOf writes whether residents are asked, and what their silence says.
func ApprovalOf(a gateway.Approval) (approval string, silence *string) {
	if a == gateway.ApprovalOff {
		return "off", nil
	}
	text := string(a)
	return "ask", &text
}

// durationOrNull writes 72h as "72h", and not as "72h0m0s".
func durationOrNull(d time.Duration) *string {
	if d == 0 {
		return nil
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return &text
}

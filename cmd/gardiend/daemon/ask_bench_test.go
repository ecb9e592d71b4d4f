package daemon

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api/phone"
	"gardien/gateway/tokens"
	"gardien/store"
)

// BenchmarkApproval: from a resident's yes to the released strike, over warm TLS, ≤ 1.3 × the same
// phone's own unlock.
func BenchmarkApproval(b *testing.B) {
	h := networked(b)
	h.start(b)
	p, _ := h.paired(b, "Ada", gateway.RoleResident)
	do(b, p, "GET", "/v1/doors", "")
	holder := must(tokens.GenerateES256())
	db := filepath.Join(h.cfg.Gateway.StateDir, store.FileName)
	var approvals, unlocks []time.Duration
	for n := 0; b.Loop(); n++ {
		steps := []func(){
			func() { unlocks = append(unlocks, unlock(b, p)); h.passDoor(b) },
			func() { approvals = append(approvals, approve(b, p, h.asks(b, holder))); h.passDoor(b) },
		}
		for i := range steps {
			settle(b, db)
			do(b, p, "GET", "/v1/info", "")
			steps[(i+n)%len(steps)]()
		}
	}
	b.ReportMetric(quantile(approvals, 0.5), "approval-p50-µs")
	b.ReportMetric(quantile(unlocks, 0.5), "unlock-p50-µs")
	b.ReportMetric(quantile(approvals, 0.5)/quantile(unlocks, 0.5), "ratio(≤1.3)")
}

// asks has somebody wait at the side door with a new grant of home.
func (h *house) asks(b testing.TB, holder *tokens.SigningKey) gateway.AttemptID {
	b.Helper()
	ctx := context.Background()
	made, err := h.access.Home(ctx, access.HomeGrant{Doors: []gateway.DoorID{"side"}, NotAfter: h.clock.Read().Wall.Add(time.Hour), Uses: 1,
		Holder: holder.KeyID(), Approval: gateway.SilenceDenies})
	if err != nil {
		b.Fatal(err)
	}
	nonce, err := h.access.Nonces.New("bench", h.clock.Read().SinceBoot)
	if err != nil {
		b.Fatal(err)
	}
	proof := must(tokens.SignProof(holder, nonce, h.identity.ID, "side", made.Text, h.clock.Read().Wall))
	out := h.access.Present(ctx, "side", gateway.ReaderLAN, gateway.GrantCredential{Text: gateway.NewSecret(made.Text), Proof: gateway.NewSecret(proof)})
	if !out.Pending {
		b.Fatalf("%+v", out)
	}
	return out.Attempt
}

// approve says yes, and gives the time from the request to the answer, which comes when the strike
// is released.
func approve(b testing.TB, p *phone.Phone, id gateway.AttemptID) time.Duration {
	b.Helper()
	return timed(b, p, "/v1/attempts/"+string(id)+"/approve", http.StatusNoContent)
}

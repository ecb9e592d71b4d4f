package mailbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
)

func testEnrolment(t *testing.T, b *Box) {
	code := gateway.NewSecret("the code")
	want := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	want("no code", b.EnrolGateway(bg, code, registration(gwA), now), gateway.ErrBadCode)
	want("add", b.AddCode(bg, KindGateway, string(gwA), code, now.Add(time.Hour)), nil)
	want("for another id", b.EnrolGateway(bg, code, registration(gwB), now), gateway.ErrBadCode)
	want("as an issuer", b.EnrolIssuer(bg, code, gateway.IssuerID(gwA), "k", "{}", now), gateway.ErrBadCode)
	want("too late", b.EnrolGateway(bg, code, registration(gwA), now.Add(time.Hour)), gateway.ErrBadCode)
	want("good", b.EnrolGateway(bg, code, registration(gwA, issX), now), nil)
	want("the answer was lost", b.EnrolGateway(bg, code, registration(gwA, issX), now.Add(2*time.Hour)), nil)
	other := registration(gwA)
	other.KeyID = "another"
	want("another key with the same code", b.EnrolGateway(bg, code, other, now), gateway.ErrBadCode)
	second := gateway.NewSecret("a second code")
	want("add", b.AddCode(bg, KindGateway, string(gwA), second, now.Add(time.Hour)), nil)
	want("another key with a fresh code", b.EnrolGateway(bg, second, other, now), gateway.ErrOtherKey)
	want("update with another key", b.UpdateGateway(bg, other), gateway.ErrOtherKey)
	want("update of nobody", b.UpdateGateway(bg, registration(gwB)), gateway.ErrNoSuchGateway)
	want("update", b.UpdateGateway(bg, registration(gwA, issY)), nil)
	for iss, want := range map[gateway.IssuerID]bool{issX: false, issY: true} {
		if got, err := b.Listens(bg, gwA, iss); err != nil || got != want {
			t.Errorf("listens to %s: %v, %v", iss, got, err)
		}
	}
	third := gateway.NewSecret("a third code")
	want("add", b.AddCode(bg, KindIssuer, string(issX), third, now.Add(time.Hour)), nil)
	want("issuer", b.EnrolIssuer(bg, third, issX, "k", "{keys}", now), nil)
	want("issuer again", b.EnrolIssuer(bg, third, issX, "k", "{keys}", now), nil)
	if keys, found, err := b.IssuerKeys(bg, issX); keys != "{keys}" || !found || err != nil {
		t.Errorf("keys %q, %v, %v", keys, found, err)
	}
	if _, found, _ := b.IssuerKeys(bg, issY); found {
		t.Error("an issuer that did not enrol has keys")
	}
}

// testReplicas: what one replica writes wakes who waits at another.
func testReplicas(t *testing.T, dsn string) {
	one, two := open(t, dsn), open(t, dsn)
	enrol(t, one, gwA, issX)
	ctx, cancel := context.WithCancel(bg)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, b := range []*Box{one, two} {
		wg.Go(func() { b.Run(ctx) })
	}
	woken, stop := two.WatchGateway(gwA)
	defer stop()
	<-woken // two listens from now on
	put(t, one, item("a", 1))
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Error("the other replica was not woken")
	}
}

// A database that fails is never read as "there is no such gateway" or "bad code" (contract §4).
func testBroken(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	if err := b.update(bg, func(t *tx) error {
		t.exec("ALTER TABLE gateways RENAME TO elsewhere")
		t.exec("ALTER TABLE codes RENAME TO codes_elsewhere")
		return t.err
	}); err != nil {
		t.Fatal(err)
	}
	_, _, put := b.Put(bg, gwA, issX, item("a", 1), now)
	_, upload := b.Upload(bg, gwA, gateway.Upload{Log: "l"}, now)
	_, _, feed := b.Feed(bg, gwA, gateway.Position{}, 10, now)
	_, snapshot := b.Snapshot(bg, gwA)
	for call, err := range map[string]error{"put": put, "upload": upload, "feed": feed, "snapshot": snapshot,
		"update": b.UpdateGateway(bg, registration(gwA)), "enrol": b.EnrolGateway(bg, gateway.NewSecret("c"), registration(gwB), now)} {
		if err == nil || errors.Is(err, gateway.ErrNoSuchGateway) || errors.Is(err, gateway.ErrBadCode) || errors.Is(err, gateway.ErrOtherKey) {
			t.Errorf("%s of a broken database: %v, want the database's own error", call, err)
		}
	}
}

package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store/mailbox/pgtest"
)

const (
	gwA  gateway.GatewayID = "gw-aaaaaaaaaa"
	gwB  gateway.GatewayID = "gw-bbbbbbbbbb"
	issX gateway.IssuerID  = "colis-x.example"
	issY gateway.IssuerID  = "soins-y.example"
)

var (
	bg    = context.Background()
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
	now   = time.Unix(1790000000, 0).UTC()
)

// One suite for both stores.
func TestSQLite(t *testing.T) {
	suite(t, func(t testing.TB) *Box { return open(t, filepath.Join(t.TempDir(), "mail.db")) })
}

func TestPostgreSQL(t *testing.T) {
	server := pgtest.Start(t)
	suite(t, func(t testing.TB) *Box { return open(t, server.Database(t)) })
	t.Run("another replica is woken", func(t *testing.T) { testReplicas(t, server.Database(t)) })
}

func open(t testing.TB, dsn string) *Box {
	t.Helper()
	b, err := Open(bg, dsn, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func suite(t *testing.T, fresh func(testing.TB) *Box) {
	for name, test := range map[string]func(*testing.T, *Box){
		"enrolment": testEnrolment, "items": testItems, "squatter": testSquatter, "share": testShare, "feed": testFeed, "commands": testCommands, "compaction": testCompaction,
		"restored": testRestored, "letters": testLetters, "presence": testPresence, "hazard": testHazard, "model": testModel, "broken": testBroken,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func registration(gw gateway.GatewayID, issuers ...gateway.IssuerID) gateway.Registration {
	return gateway.Registration{ID: gw, KeyID: "key of " + string(gw), Descriptor: "descriptor of " + string(gw), Issuers: issuers}
}

func enrol(t testing.TB, b *Box, gw gateway.GatewayID, issuers ...gateway.IssuerID) {
	t.Helper()
	code := gateway.NewSecret("code of " + string(gw))
	err := errors.Join(b.AddCode(bg, KindGateway, string(gw), code, now.Add(time.Hour)), b.EnrolGateway(bg, code, registration(gw, issuers...), now))
	if err != nil {
		t.Fatal(err)
	}
}

func item(jti string, ver int64) gateway.Item {
	return gateway.Item{ID: gateway.ItemID(issX, jti), Kind: gateway.ItemGrant, Ver: ver, Exp: gateway.Midnight(now.Unix() + 1), Body: fmt.Sprintf("body of %s %d", jti, ver)}
}

func put(t testing.TB, b *Box, i gateway.Item) int64 {
	t.Helper()
	seq, isNew, err := b.Put(bg, gwA, issX, i, now)
	if err != nil || !isNew {
		t.Fatalf("put: %v, new %v", err, isNew)
	}
	return seq
}

func position(b *Box, t testing.TB) gateway.Position {
	t.Helper()
	s, err := b.Snapshot(bg, gwA)
	if err != nil {
		t.Fatal(err)
	}
	return gateway.Position{Epoch: s.Epoch}
}

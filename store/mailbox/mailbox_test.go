package mailbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func testItems(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	if seq := put(t, b, item("a", 2)); seq != 1 {
		t.Errorf("seq %d", seq)
	}
	if seq, isNew, err := b.Put(bg, gwA, issX, item("a", 2), now); seq != 1 || isNew || err != nil {
		t.Errorf("again: %d, %v, %v", seq, isNew, err)
	}
	var conflict *gateway.VersionConflict
	for _, i := range []gateway.Item{item("a", 1), {ID: item("a", 2).ID, Kind: "grant", Ver: 2, Body: "other"}} {
		if _, _, err := b.Put(bg, gwA, issX, i, now); !errors.As(err, &conflict) || conflict.Ver != 2 {
			t.Errorf("version %d: %v", i.Ver, err)
		}
	}
	if _, _, err := b.Put(bg, gwA, issY, item("a", 3), now); !errors.Is(err, gateway.ErrNotOwner) {
		t.Errorf("another issuer's: %v", err)
	}
	for _, c := range []struct {
		gw  gateway.GatewayID
		iss gateway.IssuerID
	}{{gwB, issX}, {gwA, "z.example"}} {
		if _, _, err := b.Put(bg, c.gw, c.iss, item("z", 1), now); !errors.Is(err, gateway.ErrNoSuchGateway) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if seq := put(t, b, item("a", 3)); seq != 2 {
		t.Errorf("seq %d", seq)
	}
}

// A5: an issuer that stands in another's place is moved away; nobody can move the owner.
func testSquatter(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	place := gateway.Item{ID: gateway.ItemID(issX, "manifest"), Kind: gateway.ItemGrant, Ver: 1 << 50, Exp: now.Unix() + 86400, Body: "mine"}
	if _, _, err := b.Put(bg, gwA, issY, place, now); err != nil {
		t.Fatal(err)
	}
	manifest := gateway.Item{ID: place.ID, Kind: gateway.ItemManifest, Ver: 1, Exp: place.Exp, Body: "manifest"}
	put(t, b, manifest)
	if _, _, err := b.Put(bg, gwA, issY, place, now); !errors.Is(err, gateway.ErrNotOwner) {
		t.Errorf("the squatter comes back: %v", err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil || len(s.Items) != 1 || s.Items[0] != manifest || s.Digest != gateway.DigestOf(s.Items) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := b.Compact(bg, gwA, now); err != nil {
		t.Error(err)
	}
}

// One issuer's plenty leaves room for another, and for its own revocations.
func testShare(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	large := func(n int, ver int64) gateway.Item {
		i := item(fmt.Sprint("large", n), ver)
		i.Body = strings.Repeat("x", gateway.MaxItemBody-1) + fmt.Sprint(ver)
		return i
	}
	var err error
	n := 0
	for ; n < 4000 && err == nil; n++ {
		_, _, err = b.Put(bg, gwA, issX, large(n, 1), now)
	}
	if !errors.Is(err, gateway.ErrMailboxFull) || n < 1000 {
		t.Fatalf("after %d: %v", n, err)
	}
	if _, _, err := b.Put(bg, gwA, issX, large(0, 2), now); err != nil {
		t.Errorf("a new version in a full mailbox: %v", err)
	}
	small := item("small", 1)
	if _, _, err := b.Put(bg, gwA, issY, small, now); err != nil {
		t.Errorf("another issuer's: %v", err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil || len(text) > maxBytes {
		t.Errorf("a snapshot of %d bytes, %v", len(text), err)
	}
	if err := b.Compact(bg, gwA, now.Add(1000*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Put(bg, gwA, issX, large(n, 1), now); err != nil {
		t.Errorf("after compaction: %v", err)
	}
}

func position(b *Box, t testing.TB) gateway.Position {
	t.Helper()
	s, err := b.Snapshot(bg, gwA)
	if err != nil {
		t.Fatal(err)
	}
	return gateway.Position{Epoch: s.Epoch}
}

func testFeed(t *testing.T, b *Box) {
	if _, _, err := b.Feed(bg, gwA, gateway.Position{}, 10, now); !errors.Is(err, gateway.ErrNoSuchGateway) {
		t.Errorf("nobody's feed: %v", err)
	}
	enrol(t, b, gwA, issX)
	p := position(b, t)
	page, done, err := b.Feed(bg, gwA, p, 10, now)
	if err != nil || !done || len(page.Items) != 0 || page.Head != 0 || page.Digest != (gateway.Digest{}) {
		t.Errorf("empty: %+v, %v, %v", page, done, err)
	}
	put(t, b, item("a", 1))
	put(t, b, item("b", 1))
	put(t, b, item("a", 2))
	page, done, err = b.Feed(bg, gwA, p, 2, now)
	if err != nil || done || len(page.Items) != 2 || page.Items[0].Seq != 1 {
		t.Errorf("first page: %+v, %v, %v", page, done, err)
	}
	p.Seq = 2
	page, done, err = b.Feed(bg, gwA, p, 2, now)
	want := []gateway.FeedItem{{Seq: 3, Item: item("a", 2)}}
	if d := cmp.Diff(want, page.Items); err != nil || !done || d != "" {
		t.Errorf("second page: %s, %v, %v", d, done, err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]gateway.Item{item("b", 1), item("a", 2)}, s.Items); d != "" || s.Head != 3 {
		t.Errorf("snapshot at %d: %s", s.Head, d)
	}
	if s.Digest != gateway.DigestOf(s.Items) || s.Digest != page.Digest {
		t.Error("the digest is not that of the items")
	}
	var gone *gateway.FeedGone
	for _, p := range []gateway.Position{{}, {Epoch: "other", Seq: 1}} {
		if _, _, err := b.Feed(bg, gwA, p, 10, now); !errors.As(err, &gone) || gone.Epoch != s.Epoch || gone.Head != 3 {
			t.Errorf("%v: %v", p, err)
		}
	}
	// A gateway that has seen more than there is proves that history was lost.
	if _, _, err := b.Feed(bg, gwA, gateway.Position{Epoch: s.Epoch, Seq: 40}, 10, now); !errors.As(err, &gone) || gone.Epoch == s.Epoch || gone.Head != 40 {
		t.Errorf("overtaken: %+v, %v", gone, err)
	}
	if seq := put(t, b, item("c", 1)); seq != 41 {
		t.Errorf("seq %d after a gateway had seen 40", seq)
	}
}

func command(jti string, exp time.Time) gateway.Item {
	return gateway.Item{ID: gateway.ItemID(issX, jti), Kind: gateway.ItemCommand, Ver: 1, Exp: exp.Unix(), Body: "open " + jti}
}

// F10: never in a snapshot, never served or stored past its end.
func testCommands(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	p := position(b, t)
	put(t, b, item("a", 1))
	put(t, b, command("c", now.Add(30*time.Second)))
	page, _, err := b.Feed(bg, gwA, p, 10, now)
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil || len(s.Items) != 1 || s.Head != 2 || s.Digest != gateway.DigestOf([]gateway.Item{item("a", 1)}) {
		t.Errorf("snapshot %+v, %v", s, err)
	}
	if page, _, _ := b.Feed(bg, gwA, p, 10, now.Add(30*time.Second)); len(page.Items) != 1 || page.Head != 2 {
		t.Errorf("at its end: %+v", page)
	}
	if err := b.PurgeCommands(bg, now.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.read.QueryRow("SELECT count(*) FROM items WHERE kind = 'command'").Scan(&n); n != 0 || err != nil {
		t.Errorf("%d commands are stored, %v", n, err)
	}
}

func testCompaction(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	p := position(b, t)
	over := item("over", 1)
	over.Exp = now.Unix() - 2*24*60*60
	for _, i := range []gateway.Item{over, item("a", 1), item("a", 2), item("b", 1)} {
		put(t, b, i)
	}
	if err := b.Purge(bg, now); err != nil {
		t.Fatal(err)
	}
	var gone *gateway.FeedGone
	if _, _, err := b.Feed(bg, gwA, p, 10, now); !errors.As(err, &gone) || gone.Floor != 4 || gone.Epoch != p.Epoch {
		t.Errorf("%v", err)
	}
	s, err := b.Snapshot(bg, gwA)
	if d := cmp.Diff([]gateway.Item{item("a", 2), item("b", 1)}, s.Items); err != nil || d != "" || s.Digest != gateway.DigestOf(s.Items) {
		t.Errorf("%s, %v", d, err)
	}
	if _, done, err := b.Feed(bg, gwA, gateway.Position{Epoch: p.Epoch, Seq: 4}, 10, now); err != nil || !done {
		t.Errorf("at the floor: %v", err)
	}
	// The next purge has nothing to do and moves nothing; the day after takes the past.
	put(t, b, item("a", 3))
	if err := b.Purge(bg, now.Add(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if page, _, err := b.Feed(bg, gwA, gateway.Position{Epoch: p.Epoch, Seq: 4}, 10, now); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

func testRestored(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	p := position(b, t)
	p.Seq = put(t, b, item("a", 1))
	if _, err := b.Upload(bg, gwA, gateway.Upload{Log: "l", Letters: []gateway.Letter{{Seq: 1, To: issX, Body: "e"}}}, now); err != nil {
		t.Fatal(err)
	}
	if err := b.Restored(bg); err != nil {
		t.Fatal(err)
	}
	var gone *gateway.FeedGone
	if _, _, err := b.Feed(bg, gwA, p, 10, now); !errors.As(err, &gone) || gone.Epoch == p.Epoch || gone.Head < leap {
		t.Errorf("%v", err)
	}
	if seq := put(t, b, item("b", 1)); seq <= leap {
		t.Errorf("seq %d", seq)
	}
	if _, err := b.Upload(bg, gwA, gateway.Upload{Log: "l", Letters: []gateway.Letter{{Seq: 2, To: issX, Body: "f"}}}, now); err != nil {
		t.Fatal(err)
	}
	list, _, err := b.Letters(bg, issX, 1, 10)
	if err != nil || len(list) != 1 || list[0].Seq <= leap || list[0].Body != "f" {
		t.Errorf("%+v, %v", list, err)
	}
}

func testLetters(t *testing.T, b *Box) {
	if _, err := b.Upload(bg, gwA, gateway.Upload{Log: "l"}, now); !errors.Is(err, gateway.ErrNoSuchGateway) {
		t.Errorf("nobody's: %v", err)
	}
	enrol(t, b, gwA, issX, issY)
	enrol(t, b, gwB, issX)
	letter := func(seq int64, to gateway.IssuerID) gateway.Letter {
		return gateway.Letter{Seq: seq, To: to, Body: fmt.Sprintf("%s %d", to, seq)}
	}
	upload := func(gw gateway.GatewayID, log string, want int64, list ...gateway.Letter) {
		t.Helper()
		if ack, err := b.Upload(bg, gw, gateway.Upload{Log: log, Letters: list}, now); err != nil || ack != want {
			t.Errorf("%s/%s: ack %d, %v, want %d", gw, log, ack, err, want)
		}
	}
	upload(gwA, "l", 0)
	upload(gwA, "l", 3, letter(1, issX), letter(2, issY), letter(3, issX))
	upload(gwA, "l", 3, letter(1, issX), letter(2, issY), letter(3, issX)) // the answer was lost
	upload(gwA, "l", 4, letter(3, issX), letter(4, issX))
	upload(gwA, "l", 4)
	var gap *gateway.UploadGap
	for _, list := range [][]gateway.Letter{{letter(6, issX)}, {letter(5, issX), letter(7, issX)}} {
		if _, err := b.Upload(bg, gwA, gateway.Upload{Log: "l", Letters: list}, now); !errors.As(err, &gap) || gap.Expect != 5 {
			t.Errorf("a gap: %v", err)
		}
	}
	upload(gwA, "another log", 1, letter(1, issX))
	upload(gwB, "l", 2, letter(1, issX), letter(2, "nobody.example"))
	list, head, err := b.Letters(bg, issX, 0, 100)
	if err != nil || head != 5 || len(list) != 5 {
		t.Fatalf("head %d, %d letters, %v", head, len(list), err)
	}
	var bodies []string
	for i, l := range list {
		if l.Seq != int64(i+1) {
			t.Errorf("letter %d has seq %d", i, l.Seq)
		}
		bodies = append(bodies, string(l.Gateway)+" "+l.Body)
	}
	x := string(issX)
	want := []string{string(gwA) + " " + x + " 1", string(gwA) + " " + x + " 3", string(gwA) + " " + x + " 4", string(gwA) + " " + x + " 1", string(gwB) + " " + x + " 1"}
	if d := cmp.Diff(want, bodies); d != "" {
		t.Error(d)
	}
	if list, head, _ := b.Letters(bg, issY, 0, 100); head != 1 || len(list) != 1 || list[0].Body != "soins-y.example 2" {
		t.Errorf("another issuer's: %+v", list)
	}
	// Who has seen more than there is gets higher numbers from now on.
	if list, head, err := b.Letters(bg, issX, 9, 100); len(list) != 0 || head != 9 || err != nil {
		t.Errorf("%d, %v", head, err)
	}
	upload(gwB, "l", 3, letter(3, issX))
	if list, _, _ := b.Letters(bg, issX, 9, 100); len(list) != 1 || list[0].Seq != 10 {
		t.Errorf("%+v", list)
	}
}

func testPresence(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	enrol(t, b, gwB, issY)
	yes, no := true, false
	if err := b.Announce(bg, now); err != nil {
		t.Fatal(err)
	}
	woken, stop := b.WatchIssuer(issX)
	defer stop()
	if err := b.Observe(bg, []gateway.Sighting{{Gateway: gwA, Online: &yes, Position: 7, At: now}, {Gateway: gwB, Online: &yes, At: now}}); err != nil {
		t.Fatal(err)
	}
	<-woken
	fleet := func(at time.Time) gateway.Member {
		t.Helper()
		list, err := b.Fleet(bg, issX, time.Time{}, at)
		if err != nil || len(list) != 1 || list[0].Gateway != gwA {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0]
	}
	if m := fleet(now); !m.Online || m.Position != 7 || m.At != now.Format(time.RFC3339) || m.Descriptor != "descriptor of gw-aaaaaaaaaa" {
		t.Errorf("%+v", m)
	}
	if fleet(now.Add(time.Minute)).Online {
		t.Error("online, at a replica that is dead")
	}
	b2 := &Box{write: b.write, read: b.read, postgres: b.postgres, log: quiet, replica: "another", notify: make(chan struct{}, 1)}
	// It has come back at another replica; the old one's late word does not count.
	if err := errors.Join(b2.Announce(bg, now), b2.Observe(bg, []gateway.Sighting{{Gateway: gwA, Online: &yes, At: now}}),
		b.Observe(bg, []gateway.Sighting{{Gateway: gwA, Online: &no, At: now}})); err != nil {
		t.Fatal(err)
	}
	if !fleet(now).Online {
		t.Error("offline, by the word of a replica that it left")
	}
	if err := b2.Observe(bg, []gateway.Sighting{{Gateway: gwA, Online: &no, At: now}}); err != nil || fleet(now).Online {
		t.Error("online after it went", err)
	}
	if list, err := b.Fleet(bg, issX, now.Add(time.Second), now); err != nil || len(list) != 0 {
		t.Errorf("nothing has changed since: %+v, %v", list, err)
	}
}

// testHazard: 16 writers on one gateway, 10 readers, and not one change unseen.
func testHazard(t *testing.T, b *Box) {
	const writers, each, readers = 16, 25, 10
	enrol(t, b, gwA, issX)
	p := position(b, t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if _, _, err := b.Put(bg, gwA, issX, item(fmt.Sprintf("w%d-%d", w, n), 1), now); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	for range readers {
		wg.Go(func() {
			woken, stop := b.WatchGateway(gwA)
			defer stop()
			seen := map[string]bool{}
			for p := p; len(seen) < writers*each; {
				page, done, err := b.Feed(bg, gwA, p, 7, now)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				for _, i := range page.Items {
					if i.Seq != p.Seq+1 {
						t.Errorf("change %d after %d", i.Seq, p.Seq)
						return
					}
					seen[i.ID], p.Seq = true, i.Seq
				}
				if done && len(seen) < writers*each {
					select {
					case <-woken:
					case <-time.After(20 * time.Second):
						t.Errorf("a wake-up did not come: %d of %d seen", len(seen), writers*each)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// testModel holds random histories against a model of a dozen lines.
func testModel(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[string]gateway.Item{}
	head := int64(0)
	reader := map[string]gateway.Item{}
	p := position(b, t)
	for range 300 {
		switch rng.IntN(12) {
		case 0:
			if err := b.Compact(bg, gwA, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		case 1:
			page, _, err := b.Feed(bg, gwA, p, 1000, now)
			var gone *gateway.FeedGone
			if errors.As(err, &gone) {
				s, err := b.Snapshot(bg, gwA)
				if err != nil {
					t.Fatal(err)
				}
				clear(reader)
				for _, i := range s.Items {
					reader[i.ID] = i
				}
				p = gateway.Position{Epoch: s.Epoch, Seq: s.Head}
			} else if err != nil {
				t.Fatal(err)
			}
			for _, i := range page.Items {
				if gone == nil {
					reader[i.ID], p.Seq = i.Item, i.Seq
				}
			}
			if d := cmp.Diff(model, reader); d != "" {
				t.Fatal(d)
			}
			if page.Digest != gateway.DigestOf(slices.Collect(valuesOf(model))) {
				t.Fatal("the digest is not that of the items")
			}
		default:
			i := item(fmt.Sprint(rng.IntN(20)), 1+rng.Int64N(5))
			i.Body += fmt.Sprint(rng.IntN(2))
			old, had := model[i.ID]
			seq, isNew, err := b.Put(bg, gwA, issX, i, now)
			switch {
			case !had || i.Ver > old.Ver:
				head++
				model[i.ID] = i
				if seq != head || !isNew || err != nil {
					t.Fatalf("%d, %v, %v", seq, isNew, err)
				}
			case i == old:
				if isNew || err != nil {
					t.Fatalf("%v, %v", isNew, err)
				}
			default:
				var conflict *gateway.VersionConflict
				if !errors.As(err, &conflict) || conflict.Ver != old.Ver {
					t.Fatal(err)
				}
			}
		}
	}
}

func valuesOf(m map[string]gateway.Item) func(func(gateway.Item) bool) {
	return func(yield func(gateway.Item) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
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

package mailbox

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

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

package store_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"gardien/gateway"
	"gardien/store"
)

// fill writes n events, every third with a sub and every fifth with a resident.
func fill(t *testing.T, s *store.Store, n int) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		for i := range n {
			e := gateway.Event{Type: gateway.AccessDenied, Door: "front", Reader: "keypad", Issuer: "carrier.example",
				Grant: fmt.Sprintf("parcel-%d", i), Attempt: gateway.NewAttemptID()}
			if i%3 == 0 {
				e.Sub = fmt.Sprintf("order-%04d", i)
			}
			if i%5 == 0 {
				e.Resident = gateway.ResidentID(fmt.Sprintf("resident-%04d", i))
			}
			tx.Record.Append(e)
		}
		return tx.Err()
	})
}

func update(t *testing.T, s *store.Store, f func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, s *store.Store) store.Verification {
	t.Helper()
	v, err := s.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func events(t *testing.T, s *store.Store) []gateway.Event {
	t.Helper()
	list, err := s.Events(context.Background(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// mutations are what somebody with the file and an SQLite shell may do. At is the
// event that Verify must name.
var mutations = []struct {
	name, sql string
	at        int64
}{
	{"seq", "UPDATE events SET seq = 99 WHERE seq = 5", 5},
	{"seq of the last", "UPDATE events SET seq = 21 WHERE seq = 20", 20},
	{"at", "UPDATE events SET at = at + 1 WHERE seq = 5", 5},
	{"body", `UPDATE events SET body = replace(body, 'front', 'bacck') WHERE seq = 5`, 5},
	{"body, an unknown member", `UPDATE events SET body = replace(body, '{', '{"aa":1,') WHERE seq = 5`, 5},
	{"body, a space", `UPDATE events SET body = body || ' ' WHERE seq = 5`, 5},
	{"body of the last", `UPDATE events SET body = replace(body, 'front', 'bacck') WHERE seq = 20`, 20},
	{"body's instant", `UPDATE events SET body = replace(body, '"at":"2026', '"at":"2027') WHERE seq = 5`, 5},
	{"body is no JSON", `UPDATE events SET body = 'x' WHERE seq = 5`, 5},
	{"body of another", `UPDATE events SET body = (SELECT body FROM events WHERE seq = 6) WHERE seq = 5`, 5},
	{"hash", "UPDATE events SET hash = zeroblob(32) WHERE seq = 5", 5},
	{"hash of the last", "UPDATE events SET hash = zeroblob(32) WHERE seq = 20", 20},
	{"hash, shorter", "UPDATE events SET hash = x'00' WHERE seq = 5", 5},
	{"sub", "UPDATE events SET sub = 'order-0008' WHERE seq = 4", 4},
	{"sub where there was none", "UPDATE events SET sub = 'order-0008', sub_salt = zeroblob(16) WHERE seq = 5", 5},
	{"sub of two swapped", "UPDATE events SET sub = CASE seq WHEN 4 THEN 'order-0006' ELSE 'order-0003' END WHERE seq IN (4, 7)", 4},
	{"sub's salt", "UPDATE events SET sub_salt = zeroblob(16) WHERE seq = 4", 4},
	{"resident", "UPDATE events SET resident = 'x' WHERE seq = 6", 6},
	{"resident's salt", "UPDATE events SET resident_salt = zeroblob(16) WHERE seq = 6", 6},
	{"first deleted", "DELETE FROM events WHERE seq = 1", 1},
	{"middle deleted", "DELETE FROM events WHERE seq = 10", 10},
	{"middle deleted and closed up", "DELETE FROM events WHERE seq = 10; UPDATE events SET seq = seq - 1 WHERE seq > 10", 10},
	{"last deleted", "DELETE FROM events WHERE seq = 20", 20},
	{"tail cut off", "DELETE FROM events WHERE seq > 12", 13},
	{"tail cut off, head put to it", `DELETE FROM events WHERE seq > 12;
		UPDATE state SET value = CAST(json_object('seq', 12, 'hash', (SELECT lower(hex(hash)) FROM events WHERE seq = 12)) AS BLOB) WHERE key = 'head'`, 13},
	{"all deleted", "DELETE FROM events", 1},
	{"all deleted, and every trace", "DELETE FROM events; DELETE FROM state WHERE key IN ('head', 'anchor')", 1},
	{"two swapped", "UPDATE events SET seq = -1 WHERE seq = 5; UPDATE events SET seq = 5 WHERE seq = 6; UPDATE events SET seq = 6 WHERE seq = -1", 5},
	{"one added in front", `INSERT INTO events (seq, at, body, hash) SELECT 0, at, body, hash FROM events WHERE seq = 1`, 1},
	{"one added at the end", `INSERT INTO events (seq, at, body, hash) SELECT 21, at, body, hash FROM events WHERE seq = 20`, 21},
	{"last written anew", `UPDATE events SET body = replace(body, 'front', 'bacck'), hash = zeroblob(32) WHERE seq = 20`, 20},
	{"head's hash", `UPDATE state SET value = CAST(json_set(CAST(value AS TEXT), '$.hash', '00') AS BLOB) WHERE key = 'head'`, 20},
	{"head's number, higher", `UPDATE state SET value = CAST(json_set(CAST(value AS TEXT), '$.seq', 25) AS BLOB) WHERE key = 'head'`, 21},
	{"head's number, lower", `UPDATE state SET value = CAST(json_set(CAST(value AS TEXT), '$.seq', 15) AS BLOB) WHERE key = 'head'`, 15},
	{"anchor put further on", `INSERT INTO state VALUES ('anchor', CAST('{"first":5,"prev":"00"}' AS BLOB))`, 5},
	{"anchor with another hash", `INSERT INTO state VALUES ('anchor', CAST('{"first":1,"prev":"11"}' AS BLOB))`, 1},
}

// TestVerifyFindsMutations changes the file under a running gateway (L1).
func TestVerifyFindsMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			s := newStore(t)
			fill(t, s, 20)
			if v := verify(t, s); !v.OK || v.Events != 20 {
				t.Fatalf("before: %+v", v)
			}
			mustExec(t, s, m.sql)
			if v := verify(t, s); v.OK || v.FirstBad != m.at || v.Problem == "" {
				t.Errorf("not found, or elsewhere than at %d: %+v", m.at, v)
			}
		})
	}
}

// TestVerifyFindsMutationsAfterRestart changes it while the gateway is off, which then
// starts and writes on: the cut must not heal.
func TestVerifyFindsMutationsAfterRestart(t *testing.T) {
	// With the state's head changed, too, nothing outside of the file knows the end; and
	// a head whose number alone is lower leaves the record as it is.
	unseen := map[string]bool{"tail cut off, head put to it": true, "all deleted, and every trace": true, "head's number, lower": true}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			s := reopen(t, dir, nil)
			fill(t, s, 20)
			mustExec(t, s, m.sql)
			s = reopen(t, dir, s)
			fill(t, s, 3)
			if v := verify(t, s); v.OK != unseen[m.name] {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestForgettingIsNoMutation: a personal value may go, and only go.
func TestForgettingIsNoMutation(t *testing.T) {
	s := newStore(t)
	fill(t, s, 20)
	mustExec(t, s, "UPDATE events SET sub = NULL, sub_salt = NULL, resident = NULL, resident_salt = NULL WHERE seq IN (1, 4, 6)")
	if v := verify(t, s); !v.OK {
		t.Errorf("%+v", v)
	}
}

// everyMember has an event with each member that applies, in their whole alphabets.
func everyMember() []gateway.Event {
	const lower = "abcdefghijklmnopqrstuvwxyz0123456789"
	list := []gateway.Event{{Type: gateway.GatewayStarted}, {Type: gateway.DeviceOnline, Device: "database"}}
	for i := range 50 {
		pick := func(alphabet string, n int) string {
			b := make([]byte, 1+rand.IntN(n))
			for i := range b {
				b[i] = alphabet[rand.IntN(len(alphabet))]
			}
			return string(b)
		}
		e := gateway.Event{Type: gateway.AccessDenied, Door: gateway.DoorID(pick(lower+"-", 32)), Reader: gateway.ReaderID(pick(lower+"-", 32)),
			Issuer: gateway.IssuerID(pick(lower+".-", 64)), Grant: pick(lower+strings.ToUpper(lower)+"._-", 64), Attempt: gateway.NewAttemptID(),
			Reason: gateway.WrongPIN, Device: pick(lower+"-_:/.", 20), Count: rand.IntN(1000)}
		if i%2 == 0 {
			e.Sub, e.Resident = "Häuser & Söhne <\u2028\"\\>", gateway.NewResidentID()
		}
		if i%3 == 0 {
			e.Episode, e.Late = gateway.NewAttemptID(), true
		}
		list = append(list, e)
	}
	return list
}

// TestCanonical holds the record against another implementation of RFC 8785.
func TestCanonical(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *store.Tx) error { return tx.Record.Append(everyMember()...) })
	rows, err := s.Conn().QueryContext(context.Background(), "SELECT body FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var body string
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform([]byte(body))
		if err != nil || string(want) != body {
			t.Errorf("stored %s\nJCS    %s (%v)", body, want, err)
		}
	}
	if n != 52 {
		t.Errorf("%d events", n)
	}
}

// TestHash computes the chain anew from what the API gives, by the contract's formula
// (§8): SHA-256(prev ‖ JCS(event without hash, sub and resident as commitments)).
func TestHash(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *store.Tx) error { return tx.Record.Append(everyMember()...) })
	prev := strings.Repeat("0", 64)
	for _, e := range events(t, s) {
		if e.Prev != prev {
			t.Fatalf("event %d: prev %s, want %s", e.Seq, e.Prev, prev)
		}
		var subSalt, resSalt []byte
		if err := s.Conn().QueryRowContext(context.Background(), "SELECT sub_salt, resident_salt FROM events WHERE seq = ?", e.Seq).
			Scan(&subSalt, &resSalt); err != nil {
			t.Fatal(err)
		}
		commit := func(salt []byte, value string) string {
			if len(salt) != 16 {
				t.Errorf("event %d: a salt of %d bytes", e.Seq, len(salt))
			}
			m := hmac.New(sha256.New, salt)
			m.Write([]byte(value))
			return hex.EncodeToString(m.Sum(nil))
		}
		if e.Sub != "" {
			e.Sub = commit(subSalt, e.Sub)
		}
		if e.Resident != "" {
			e.Resident = gateway.ResidentID(commit(resSalt, string(e.Resident)))
		}
		want := e.Hash
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "hash")
		if b, err = json.Marshal(members); err != nil {
			t.Fatal(err)
		}
		if b, err = jcs.Transform(b); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(prev)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(append(raw, b...)); hex.EncodeToString(got[:]) != want {
			t.Errorf("event %d: hash %x, want %s", e.Seq, got, want)
		}
		prev = want
	}
}

// TestEventsPages: pages join without a seam, and each first event has its prev.
func TestEventsPages(t *testing.T) {
	s := newStore(t)
	fill(t, s, 25)
	all := events(t, s)
	var joined []gateway.Event
	for after := int64(0); ; {
		page, err := s.Events(context.Background(), after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		joined, after = append(joined, page...), page[len(page)-1].Seq
	}
	if fmt.Sprint(joined) != fmt.Sprint(all) || len(all) != 25 {
		t.Errorf("%d events in pages, %d at once", len(joined), len(all))
	}
}

// TestRetention: what is old goes for good, the chain verifies from its anchor, and the
// newest stays (L2, L7).
func TestRetention(t *testing.T) {
	ctx := context.Background()
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	put(t, s, oneTime("carrier.example", "old", "order-of-old"))
	fill(t, s, 300)
	c.set(start.Add(100 * 24 * time.Hour))
	fill(t, s, 30)
	cutoff := start.Add(10 * 24 * time.Hour)
	n, err := s.Retain(ctx, cutoff)
	if err != nil || n != 300 {
		t.Fatalf("%d events went, %v", n, err)
	}
	if err := s.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	list := events(t, s)
	if v := verify(t, s); !v.OK || v.Events != 30 || list[0].Seq != 301 || list[0].Prev == strings.Repeat("0", 64) {
		t.Errorf("%+v, first %+v", v, list[0])
	}
	for name, raw := range rawFiles(dir) {
		// The new events carry the same subs for i < 30; those beyond went.
		for _, gone := range []string{"order-0033", "order-0297", "resident-0295", "parcel-299", "order-of-old", "2026-11-23T10:04"} {
			if strings.Contains(raw, gone) {
				t.Errorf("%s still has %q", name, gone)
			}
		}
	}
	g, found, err := getGrant(s, gateway.GrantID{Issuer: "carrier.example", JTI: "old"})
	if err != nil || !found || g.Version != 1 || g.Sub != "" {
		t.Errorf("the grant's version must stay, its sub not: %+v %v %v", g, found, err)
	}
	c.set(start.Add(1000 * 24 * time.Hour))
	if n, err = s.Retain(ctx, start.Add(999*24*time.Hour)); err != nil || n != 29 || s.Head() != 330 {
		t.Errorf("%d events went, %v: the newest must stay", n, err)
	}
	if n, err = s.Retain(ctx, start.Add(2000*24*time.Hour)); err != nil || n != 0 {
		t.Errorf("%d events went, %v", n, err)
	}
	s = reopenWith(t, dir, s, c)
	fill(t, s, 2)
	if v := verify(t, s); !v.OK || v.Events != 3 {
		t.Errorf("%+v", v)
	}
}

// TestForget: no byte of any file has the reference afterwards, wherever the tables'
// pages were split meanwhile, and the chain verifies (L7).
func TestForget(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	const n = 1500
	name := func(i int) string { return fmt.Sprintf("order-%05d-of-%s", i, strings.Repeat("x", i%40)) }
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, i := range order {
		update(t, s, func(tx *store.Tx) error {
			g := oneTime("carrier.example", fmt.Sprintf("%08x-%d", uint32(i)*2654435761, i), name(i))
			tx.Grants.Put(g, bytes.Repeat([]byte{1}, 32))
			return tx.Record.Append(gateway.Event{Type: gateway.GrantAdded, Issuer: g.ID.Issuer, Grant: g.ID.JTI, Sub: g.Sub})
		})
	}
	var resident gateway.ResidentID = "resident-to-be-forgotten"
	update(t, s, func(tx *store.Tx) error {
		return tx.Residents.Put(gateway.Resident{ID: resident, Name: "Chloé Removed", PairedAt: start}, []byte("token"))
	})
	update(t, s, func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: resident})
	})
	before := events(t, s)
	gone := []string{string(resident), "Chloé"}
	for _, i := range order[:20] {
		gone = append(gone, fmt.Sprintf("order-%05d", i))
		ref := name(i)
		if i%2 == 0 {
			ref = fmt.Sprintf("carrier.example/%08x-%d", uint32(i)*2654435761, i)
		}
		if k, err := s.Forget(ctx, ref); err != nil || k != 2 {
			t.Fatalf("%s: %d rows, %v", ref, k, err)
		}
	}
	if k, err := s.Forget(ctx, string(resident)); err != nil || k != 2 {
		t.Fatalf("resident: %d rows, %v", k, err)
	}
	traces := 0
	for file, raw := range rawFiles(dir) {
		for _, ref := range gone {
			if k := strings.Count(raw, ref); k > 0 {
				traces += k
				t.Logf("%s has %q %d times", file, ref, k)
			}
		}
	}
	if traces > 0 {
		t.Errorf("%d traces", traces)
	}
	after := events(t, s)
	for i := range before {
		if before[i].Hash != after[i].Hash {
			t.Fatalf("event %d has another hash", i+1)
		}
	}
	if v := verify(t, s); !v.OK {
		t.Errorf("%+v", v)
	}
	if k, err := s.Forget(ctx, "nobody"); err != nil || k != 0 {
		t.Errorf("%d rows, %v", k, err)
	}
}

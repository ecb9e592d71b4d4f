package mailbox

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

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
		if r, err := b.Upload(bg, gw, gateway.Upload{Log: log, Letters: list}, now); err != nil || r.Ack != want {
			t.Errorf("%s/%s: %+v, %v, want %d", gw, log, r, err, want)
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
	// The newest head comes back, whoever asks for it and however it ends.
	tell := func(head string, seq int64, want string) {
		t.Helper()
		r, err := b.Upload(bg, gwA, gateway.Upload{Log: "l", Letters: []gateway.Letter{letter(seq, issX)}, Head: head}, now)
		if errors.As(err, &gap) {
			r.Head = gap.Head
		} else if err != nil {
			t.Fatal(err)
		}
		if r.Head != want {
			t.Errorf("head %q, want %q", r.Head, want)
		}
	}
	tell("", 4, "")
	tell("one", 4, "one")
	tell("", 4, "one")
	tell("two", 9, "one") // refused as a whole
	tell("two", 1, "two")
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

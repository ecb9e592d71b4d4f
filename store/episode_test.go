package store_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

// happen writes events of door front into the record, each word one transaction: "type" or
// "type:attempt"; "a+b" are one. access_denied is a fault of the latch.
func happen(t *testing.T, s *store.Store, words string) {
	t.Helper()
	for _, word := range strings.Fields(words) {
		var list []gateway.Event
		for _, one := range strings.Split(word, "+") {
			kind, attempt, _ := strings.Cut(one, ":")
			e := gateway.Event{Type: gateway.EventType(kind), Door: "front", Attempt: gateway.AttemptID(attempt)}
			switch e.Type {
			case gateway.AccessGranted:
				e.Reader, e.Issuer, e.Grant, e.Sub = gateway.ReaderApp, "carrier.example", "command-1", "order-1"
			case gateway.AccessDenied:
				e.Reason = gateway.Fault
			case gateway.GatewayStarted:
				e.Door = ""
			}
			list = append(list, e)
		}
		update(t, s, func(tx *store.Tx) error { return tx.Record.Append(list...) })
	}
}

// episodes lists "type=episode" of all events.
func episodes(t *testing.T, s *store.Store) (list []string) {
	t.Helper()
	for _, e := range events(t, s) {
		list = append(list, string(e.Type)+"="+string(e.Episode))
	}
	return list
}

// TestEpisodes: what belongs to one entry stands under its attempt; what the leaf does stands under
// that of whoever opened it, until it is closed (contract §3).
func TestEpisodes(t *testing.T) {
	for _, tt := range []struct{ name, events, want string }{
		{"the leaf, after the strike was secured",
			"access_granted:a strike_released:a door_opened:a+access_taken:a strike_secured:a door_held_open door_fault door_closed door_bell door_fault",
			"access_granted=a strike_released=a door_opened=a access_taken=a strike_secured=a door_held_open=a door_fault= door_closed=a door_bell= door_fault="},
		{"nobody came", "access_granted:a strike_released:a strike_secured:a+access_not_taken:a door_opened door_closed",
			"access_granted=a strike_released=a strike_secured=a access_not_taken=a door_opened= door_closed="},
		{"two overlapping entries", "access_granted:a access_granted:b door_opened:a+access_taken:a door_closed door_opened:b+access_taken:b strike_secured:b door_closed",
			"access_granted=a access_granted=b door_opened=a access_taken=a door_closed=a door_opened=b access_taken=b strike_secured=b door_closed=b"},
		{"two overlapping entries, of which one came", "access_granted:a access_granted:b door_opened:a+access_taken:a strike_secured:b+access_not_taken:b door_closed",
			"access_granted=a access_granted=b door_opened=a access_taken=a strike_secured=b access_not_taken=b door_closed=a"},
		{"opened twice within one release", "access_granted:a door_opened:a+access_taken:a door_closed door_opened strike_secured:a door_closed",
			"access_granted=a door_opened=a access_taken=a door_closed=a door_opened=a strike_secured=a door_closed=a"},
		{"granted before another's release ends", "access_granted:a strike_released:a access_granted:b strike_secured:a strike_released:b door_opened strike_secured:b door_closed",
			"access_granted=a strike_released=a access_granted=b strike_secured=a strike_released=b door_opened=b strike_secured=b door_closed=b"},
		{"forced open", "door_opened+door_forced_open door_held_open door_closed", "door_opened= door_forced_open= door_held_open= door_closed="},
		{"forced open after an entry that was never closed for the record", "access_granted:a door_opened:a+access_taken:a strike_secured:a door_opened+door_forced_open door_closed",
			"access_granted=a door_opened=a access_taken=a strike_secured=a door_opened= door_forced_open= door_closed="},
		{"the latch fails", "access_granted:a door_fault:a access_denied:a door_opened door_closed", "access_granted=a door_fault=a access_denied=a door_opened= door_closed="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			happen(t, s, tt.events)
			if d := cmp.Diff(strings.Fields(tt.want), episodes(t, s)); d != "" {
				t.Error(d)
			}
			if v := verify(t, s); !v.OK {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestEpisodeOfAFurtherDoor: where a grant opens several doors, all that belongs to the entry stands
// under its first attempt, whatever the further door tells of its own.
func TestEpisodeOfAFurtherDoor(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.AccessGranted, Door: "front", Attempt: "b", Episode: "a"})
	})
	happen(t, s, "strike_released:b door_opened:b+access_taken:b door_closed strike_secured:b+access_not_taken:b")
	for _, e := range episodes(t, s) {
		if !strings.HasSuffix(e, "=a") {
			t.Error(e)
		}
	}
}

// TestEpisodeOverRestarts: a leaf that is open stays that of whoever opened it; an entry that a power
// cut left open is interrupted as its own (D1).
func TestEpisodeOverRestarts(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	happen(t, s, "access_granted:a strike_released:a door_opened:a+access_taken:a")
	s = reopen(t, dir, s)
	update(t, s, func(tx *store.Tx) error { tx.Record.Interrupt(); return tx.Err() })
	happen(t, s, "gateway_started door_held_open")
	s = reopen(t, dir, s)
	happen(t, s, "gateway_started door_closed door_opened door_closed")
	want := strings.Fields("access_granted=a strike_released=a door_opened=a access_taken=a interrupted=a gateway_started= door_held_open=a gateway_started= door_closed=a door_opened= door_closed=")
	if d := cmp.Diff(want, episodes(t, s)); d != "" {
		t.Error(d)
	}
}

// story gives the story of attempt a.
func story(t *testing.T, s *store.Store) []gateway.Event {
	t.Helper()
	got, err := storyOf(s, "a")
	if err != nil {
		t.Fatal(err)
	}
	return got.Events
}

func storyOf(s *store.Store, a gateway.AttemptID) (got store.Story, err error) {
	err = s.Browse(context.Background(), func(tx *store.Tx) error { got = tx.Record.Story(a); return tx.Err() })
	return got, err
}

// TestStory: an entry's story begins with its access_granted, once its release is over, and is what
// the record has, the commitments' values aside.
func TestStory(t *testing.T) {
	s := newStore(t)
	fill(t, s, 3)
	happen(t, s, "access_granted:a strike_released:a door_opened:a+access_taken:a")
	if list := story(t, s); list != nil {
		t.Errorf("while it goes on: %v", list)
	}
	happen(t, s, "strike_secured:a door_closed access_granted:b")
	want := events(t, s)[3:]
	for i := range want {
		want[i].Prev, want[i].Sub = "", ""
	}
	if d := cmp.Diff(want, story(t, s)); d != "" {
		t.Error(d)
	}
	if r, ended := gateway.ReceiptOf(story(t, s), "a"); !ended || r.Outcome != gateway.Entered || r.Head.Seq != 9 {
		t.Errorf("%+v", r)
	}
	if e, found := entry(t, s, "a"); !found || e.Seq != 4 || e.Door != "front" || e.Grant != "command-1" {
		t.Errorf("%+v", e)
	}
	for _, other := range []gateway.AttemptID{"b", "c", ""} {
		got, err := storyOf(s, other)
		if _, found := entry(t, s, other); err != nil || got.Events != nil || found {
			t.Errorf("%q: %+v %v", other, got, err)
		}
	}
}

func entry(t *testing.T, s *store.Store, a gateway.AttemptID) (e gateway.Event, found bool) {
	t.Helper()
	err := s.View(context.Background(), func(tx *store.Tx) error { e, found = tx.Record.Entry(a); return tx.Err() })
	if err != nil {
		t.Fatal(err)
	}
	return e, found
}

// TestStoryOfTheFirstEvents: nothing stands before the first event, nor before the first that the
// retention left; what is past it is not found (L7).
func TestStoryOfTheFirstEvents(t *testing.T) {
	c := newClock()
	s := reopenWith(t, t.TempDir(), nil, c)
	happen(t, s, "access_granted:a strike_secured:a")
	if list := story(t, s); len(list) != 2 {
		t.Errorf("from the first on: %v", list)
	}
	cut := c.Read().Wall
	happen(t, s, "access_granted:b strike_secured:b")
	if n, err := s.Retain(context.Background(), cut); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if got, err := storyOf(s, "b"); err != nil || len(got.Events) != 2 {
		t.Errorf("from the first that is kept: %v, %v", got.Events, err)
	}
	if list := story(t, s); list != nil {
		t.Errorf("past its retention: %v", list)
	}
}

// TestStoryFindsMutations: what is not what was written makes no story (L1).
func TestStoryFindsMutations(t *testing.T) {
	for _, m := range mutations {
		if m.at != 5 && m.at != 4 || strings.HasPrefix(m.name, "anchor") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			s := newStore(t)
			happen(t, s, "access_granted:x access_granted:a")
			fill(t, s, 20)
			happen(t, s, "strike_secured:a")
			mustExec(t, s, m.sql)
			if verify(t, s).OK {
				t.Skip("nothing was changed")
			}
			if got, err := storyOf(s, "a"); err == nil {
				t.Errorf("%d events", len(got.Events))
			}
		})
	}
	s := newStore(t)
	happen(t, s, "access_granted:a strike_secured:a access_granted:b strike_secured:b")
	mustExec(t, s, "UPDATE entries SET seq = 3 WHERE attempt = 'a'")
	if got, err := storyOf(s, "a"); err == nil {
		t.Errorf("another's entry: %+v", got)
	}
}

// TestStoryIsDurable: an event that a power cut would take away ends nothing.
func TestStoryIsDurable(t *testing.T) {
	s := newStore(t)
	happen(t, s, "access_granted:a strike_released:a")
	err := s.Follow(context.Background(), func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.StrikeSecured, Door: "front", Attempt: "a"})
	})
	if _, ended := gateway.ReceiptOf(story(t, s), "a"); err != nil || ended {
		t.Errorf("ended %v, %v", ended, err)
	}
	happen(t, s, "door_bell")
	if _, ended := gateway.ReceiptOf(story(t, s), "a"); !ended {
		t.Error("not ended")
	}
}

// TestStoryIsBounded: it has so many events, and is the same from then on. An entry that is tried
// again when its first try is out of sight is told from there on.
func TestStoryIsBounded(t *testing.T) {
	s := newStore(t)
	const first = "access_granted:a strike_released:a strike_secured:a+access_not_taken:a"
	happen(t, s, first)
	fill(t, s, 2*gateway.ReceiptSpan)
	before := story(t, s)
	if len(before) != gateway.ReceiptSpan+1 || before[0].Seq != 1 {
		t.Fatalf("%d events from %d on", len(before), before[0].Seq)
	}
	fill(t, s, 3)
	if d := cmp.Diff(before, story(t, s)); d != "" {
		t.Error(d)
	}
	happen(t, s, "access_granted:a strike_released:a door_opened:a+access_taken:a strike_secured:a door_closed")
	r, ended := gateway.ReceiptOf(story(t, s), "a")
	if !ended || r.Outcome != gateway.Entered {
		t.Errorf("tried again: %+v", r)
	}
	if !slices.ContainsFunc(events(t, s), func(e gateway.Event) bool { return e.Seq == r.Head.Seq && e.Hash == r.Head.Hash }) {
		t.Errorf("no event %+v", r.Head)
	}
}

// TestD5_StoryOverAStandIn: an entry that began before the disk took no writes is found when it does
// again, and nothing is told of one meanwhile: its events get other numbers.
func TestD5_StoryOverAStandIn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root mounts a file system")
	}
	r := &standInRun{dir: t.TempDir(), memory: t.TempDir()}
	if err := syscall.Mount("tmpfs", r.dir, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skip("skipped: ", err)
	}
	defer syscall.Unmount(r.dir, 0)
	open := func() *store.Store {
		t.Helper()
		s, err := r.open()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", r.dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	fill(t, s, 3)
	happen(t, s, "access_granted:a strike_released:a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount(syscall.MS_RDONLY)
	s = open()
	happen(t, s, "strike_secured:a access_granted:b strike_released:b strike_secured:b")
	if got, err := storyOf(s, "b"); err != nil || got.Events != nil || s.Durable() {
		t.Errorf("meanwhile: %+v, %v", got, err)
	}
	remount(0)
	if err := s.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, a := range []gateway.AttemptID{"a", "b"} {
		got, err := storyOf(s, a)
		if rec, ended := gateway.ReceiptOf(got.Events, a); err != nil || !ended || rec.Outcome != gateway.Unproved || rec.Secured == "" {
			t.Errorf("%s: %+v, %v", a, rec, err)
		}
	}
}

// D1: whoever was granted before another's release ended has an entry that is open still.
func TestD1_GrantedBesideAnother(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	happen(t, s, "access_granted:a strike_released:a access_granted:b strike_secured:a")
	s = reopen(t, dir, s)
	update(t, s, func(tx *store.Tx) error { tx.Record.Interrupt(); return tx.Err() })
	list := events(t, s)
	if e := list[len(list)-1]; e.Type != gateway.Interrupted || e.Attempt != "b" || len(list) != 5 {
		t.Errorf("%d events, the last %+v", len(list), e)
	}
}

// L7: who made a grant is forgotten with that resident, and gone with what is past its retention.
func TestL7_MakersAreForgotten(t *testing.T) {
	ctx := context.Background()
	for what, forget := range map[string]func(*store.Store) error{
		"forgotten":          func(s *store.Store) error { _, err := s.Forget(ctx, "ada"); return err },
		"past its retention": func(s *store.Store) error { _, err := s.Retain(ctx, start.AddDate(1, 0, 0)); return err },
	} {
		s := newStore(t)
		g := oneTime(gateway.HomeIssuer, "g1", "ref")
		put(t, s, g)
		update(t, s, func(tx *store.Tx) error { tx.Grants.Note(g.ID, gateway.KindFamily, "ada"); return tx.Err() })
		maker := func() (id gateway.ResidentID) {
			id, err := store.Look(ctx, s, func(tx *store.Tx) gateway.ResidentID { r, _ := tx.Grants.Get(g.ID); return r.Maker })
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		if maker() != "ada" {
			t.Fatal("it is not kept who made the grant")
		}
		if err := forget(s); err != nil {
			t.Fatal(err)
		}
		if id := maker(); id != "" {
			t.Errorf("%s: the grant is by %s still", what, id)
		}
	}
}

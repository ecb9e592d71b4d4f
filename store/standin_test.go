package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gardien/gateway"
	"gardien/store"
)

func init() { children["standin"] = standInChild }

// standInChild lets the disk fail from the n-th I/O call on, for n from 1 until a whole visit goes
// well, and heals it. Whatever happened meanwhile must act at once and be in the database then.
func standInChild(dir string) error {
	fault, errno := os.Getenv("GARDIEN_FAULT_FILE"), os.Getenv(faultSpecs)
	memory, err := os.MkdirTemp("", "gardien-memory-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(memory)
	stood := 0
	for n := 1; ; n++ {
		os.Remove(fault + ".fired")
		r := &standInRun{dir: filepath.Join(dir, fmt.Sprint(n)), memory: filepath.Join(memory, fmt.Sprint(n)), unreadable: errno == "EIO"}
		if err := errors.Join(os.Mkdir(r.dir, 0o700), os.Mkdir(r.memory, 0o700)); err != nil {
			return err
		}
		err := r.run(func() error { return os.WriteFile(fault, fmt.Appendf(nil, "any:%s:%d:sticky #%d", errno, n, n), 0o600) }, func() { os.Remove(fault) })
		_, statErr := os.Stat(fault + ".fired")
		if err != nil {
			return fmt.Errorf("call %d (stood in %v): %w", n, r.stood, err)
		}
		if r.stood {
			stood++
		}
		os.RemoveAll(r.dir)
		if statErr != nil {
			fmt.Printf("each of %d calls failed; %d times a stand-in was needed\n", n-1, stood)
			return nil
		}
	}
}

type standInRun struct {
	dir, memory string
	stood       bool
	restarted   bool
	unreadable  bool // what fails cannot be opened for reading either: there is no start
}

func (r *standInRun) open() (*store.Store, error) {
	s, err := store.Open(store.Opts{Dir: r.dir, Zone: paris, Log: quiet, Known: true, Runtime: r.memory})
	if err == nil {
		err = errors.Join(s.SetClock(newClock()), s.KeepRemovals(testMAC))
	}
	if err == nil {
		err = s.Belong(gatewayID)
	}
	return s, err
}

// enters has a resident come in, and reports whether that was durable.
func enters(s *store.Store, id gateway.ResidentID) (durable bool, err error) {
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		durable = !tx.House.Degraded()
		return tx.Record.Append(gateway.Event{Type: gateway.AccessGranted, Door: "front", Reader: "app", Attempt: gateway.NewAttemptID(), Resident: id},
			gateway.Event{Type: gateway.StrikeSecured, Door: "front"})
	})
	return durable, err
}

func (r *standInRun) run(breaks func() error, heals func()) error {
	ctx := context.Background()
	s, err := store.Open(store.Opts{Dir: r.dir, Zone: paris, Log: quiet, Runtime: r.memory})
	if err != nil {
		return err
	}
	home := oneTime(gateway.HomeIssuer, "family", "")
	home.Uses = 0
	err = errors.Join(s.SetClock(newClock()), s.KeepRemovals(testMAC), s.Belong(gatewayID), s.Update(ctx, func(tx *store.Tx) error {
		tx.Grants.Put(home, []byte("digest"))
		tx.Grants.Put(oneTime("carrier.example", "parcel", ""), []byte("digest"))
		tx.Codes.Put(gateway.PINRecord{Grant: home.ID, Door: "front", Length: 6}, []byte("mac"))
		for _, id := range []gateway.ResidentID{"ada", "ben"} {
			tx.Residents.Put(gateway.Resident{ID: id, Name: string(id), PairedAt: start}, []byte("token"))
		}
		tx.Residents.Put(gateway.Resident{ID: "cleo", Name: "cleo", PairedAt: start, Role: gateway.RoleGuest, Key: "K"}, []byte("token"))
		return tx.Record.Append(gateway.Event{Type: gateway.GatewayStarted})
	}))
	if err == nil {
		err = breaks()
	}
	if err != nil {
		return err
	}
	entries := 0
	for range 3 {
		durable, err := enters(s, "ada")
		if err != nil {
			return fmt.Errorf("a resident stays outside: %w", err)
		}
		entries++
		r.stood = r.stood || !durable
	}
	if err := s.Update(ctx, func(tx *store.Tx) error {
		tx.Residents.Remove("ben")
		tx.Residents.Rebind("cleo", []byte("token 2"), "K2")
		revoked := home
		revoked.Version, revoked.Status = 2, gateway.GrantRevoked
		tx.Grants.Put(revoked, []byte("digest"))
		tx.Codes.Wipe(home.ID)
		tx.House.PutThrottle("pad", gateway.Throttle{Failures: 7})
		return tx.House.SetPaused(&gateway.Pause{})
	}); err != nil {
		return fmt.Errorf("nothing can be taken away: %w", err)
	}
	if !r.unreadable { // a crash of the program takes nothing of it
		if s, err = reopenIn(s, r); err != nil {
			return fmt.Errorf("no start while the disk fails: %w", err)
		}
		r.restarted = !s.Durable()
	}
	r.stood = !s.Durable()
	if r.unreadable && !r.stood { // all was written before it failed
	} else if err := r.look(s, entries, r.stood); err != nil {
		return fmt.Errorf("while the disk fails: %w", err)
	}
	heals()
	if r.stood {
		if err := s.Heal(ctx); err != nil {
			return fmt.Errorf("the disk is healed: %w", err)
		}
	}
	if durable, err := enters(s, "ada"); err != nil || !durable {
		return fmt.Errorf("healed: durable %v, %w", durable, err)
	}
	entries++
	if err := r.look(s, entries, false); err != nil {
		return fmt.Errorf("healed: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if left, _ := os.ReadDir(r.memory); len(left) > 0 {
		return fmt.Errorf("%s is left in memory", left[0].Name())
	}
	s, err = r.open()
	if err != nil {
		return err
	}
	defer s.Close()
	return r.look(s, entries, false)
}

// reopenIn is a crash and a start: nothing is closed.
func reopenIn(s *store.Store, r *standInRun) (*store.Store, error) {
	s.Abandon()
	return r.open()
}

// look says what is wrong.
func (r *standInRun) look(s *store.Store, entries int, degraded bool) error {
	ctx := context.Background()
	if s.RolledBack() != "" || s.SetAside() != "" {
		return fmt.Errorf("rolled back %q, set aside %q", s.RolledBack(), s.SetAside())
	}
	var problems []string
	err := s.View(ctx, func(tx *store.Tx) error {
		list := tx.Residents.List()
		cleo, token, _ := tx.Residents.Find("cleo")
		g, found := tx.Grants.Get(gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: "family"})
		_, pin := tx.Codes.Find("front", []byte("mac"))
		parcel, there := tx.Grants.Get(gateway.GrantID{Issuer: "carrier.example", JTI: "parcel"})
		for problem, is := range map[string]bool{
			"the wrong residents": len(list) != 2 || list[0].ID != "ada" || list[0].Role != gateway.RoleResident || list[0].Ver != 1,
			"not moved":           cleo.Role != gateway.RoleGuest || cleo.Key != "K2" || cleo.Ver != 2 || string(token) != "token 2",
			"a revoked grant":     !found || g.Status == gateway.GrantActive && !g.Block,
			"a wiped PIN":         pin,
			"no parcel":           !there || parcel.Used != 0,
			"no throttle":         tx.House.Throttle("pad").Failures != 7,
			"no pause":            tx.House.Paused() == nil,
			"degraded, or not":    tx.House.Degraded() != degraded,
		} {
			if is {
				problems = append(problems, problem)
			}
		}
		return nil
	})
	if err != nil || len(problems) > 0 {
		return fmt.Errorf("%s (%v)", strings.Join(problems, ", "), err)
	}
	if v, err := s.Verify(ctx); err != nil || !v.OK {
		return fmt.Errorf("the record: %+v %v", v, err)
	}
	if degraded {
		return nil
	}
	events, err := s.Events(ctx, 0, 1000)
	if err != nil {
		return err
	}
	granted := 0
	var told []string
	for _, e := range events {
		switch {
		case e.Type == gateway.AccessGranted && e.Resident == "ada":
			granted++
		case e.Device == "database":
			told = append(told, string(e.Type))
		}
	}
	var want []string
	if r.stood {
		want = []string{"device_offline", "device_online"}
		if r.restarted { // each process tells what it finds
			want = []string{"device_offline", "device_offline", "device_online"}
		}
	}
	if granted != entries || !slices.Equal(told, want) && !(r.restarted && slices.Equal(told, want[1:])) {
		return fmt.Errorf("%d entries in the record, want %d; told %q, want %q", granted, entries, told, want)
	}
	return nil
}

// TestD5_StandIn: the n-th I/O call fails and all after it, for every n. Residents come in, what
// is taken away is gone at once, a crash changes nothing of it, and after the disk has healed all of
// it is in the database.
func TestD5_StandIn(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"EROFS", "ENOSPC", "EIO"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			t.Log(strings.TrimSpace(runChildOutput(t, trace(t), "standin", faultSpecs+"="+errno)))
		})
	}
}

// TestD5_ReadOnlyCard: the state folder lies on a file system that is mounted read-only, with and
// without the shared memory of a process of before.
func TestD5_ReadOnlyCard(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root mounts a file system")
	}
	for _, clean := range []bool{true, false} {
		r := &standInRun{dir: t.TempDir(), memory: t.TempDir()}
		if err := syscall.Mount("tmpfs", r.dir, "tmpfs", 0, "mode=0700"); err != nil {
			t.Skip("skipped: ", err)
		}
		defer syscall.Unmount(r.dir, 0)
		s, err := r.open()
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *store.Tx) error {
			return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "ada", PairedAt: start}, []byte("token"))
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !clean { // as a kill leaves it
			other := t.TempDir()
			o := &standInRun{dir: other, memory: t.TempDir()}
			s, err := o.open()
			if err != nil {
				t.Fatal(err)
			}
			update(t, s, func(tx *store.Tx) error {
				return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "ada", PairedAt: start}, []byte("token"))
			})
			for name, raw := range rawFiles(other) {
				if err := os.WriteFile(filepath.Join(r.dir, name), []byte(raw), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
		}
		if err := syscall.Mount("", r.dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		s, err = r.open()
		if err != nil {
			t.Fatalf("clean %v: no start: %v", clean, err)
		}
		update(t, s, func(tx *store.Tx) error {
			for range 2500 {
				tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
			}
			return tx.Err()
		})
		if durable, err := enters(s, "ada"); err != nil || durable {
			t.Errorf("clean %v: durable %v, %v", clean, durable, err)
		}
		s.Mend(t.Context())
		if n := len(events(t, s)); n != 2000 {
			t.Errorf("clean %v: %d events wait in memory", clean, n)
		}
		if got := residentsOf(t, s); got != "ada" {
			t.Errorf("clean %v: residents %q", clean, got)
		}
		if err := s.Heal(t.Context()); err == nil {
			t.Errorf("clean %v: healed", clean)
		}
		if err := syscall.Mount("", r.dir, "", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Heal(t.Context()); err != nil {
			t.Errorf("clean %v: %v", clean, err)
		}
		if durable, err := enters(s, "ada"); err != nil || !durable {
			t.Errorf("clean %v: healed: durable %v, %v", clean, durable, err)
		}
		late := 0
		for _, e := range events(t, s) {
			if e.Late && e.Type == gateway.AccessGranted {
				late++
			}
		}
		if v := verify(t, s); !v.OK || late != 1 {
			t.Errorf("clean %v: %d late entries, %+v", clean, late, v)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

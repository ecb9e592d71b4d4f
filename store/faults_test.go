package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
	"gardien/store/powercut"
)

// faultSpecs is which faults a child goes through: "ERRNO:how", in this variable.
const faultSpecs = "GARDIEN_STORE_FAULT"

// faultsChild makes the n-th I/O call of a short run fail, for every n: open a new
// database, three openings, close (D5).
func faultsChild(dir string) error {
	fault, spec := os.Getenv("GARDIEN_FAULT_FILE"), os.Getenv(faultSpecs)
	var all []error
	tally := map[string]int{}
	for n := 1; ; n++ {
		errno, how, _ := strings.Cut(spec, ":")
		r := &faultRun{dir: filepath.Join(dir, fmt.Sprint(n)), fault: fault, acked: map[int64]string{}, tally: tally}
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			return err
		}
		os.Remove(fault + ".fired")
		if err := os.WriteFile(fault, fmt.Appendf(nil, "any:%s:%d:%s #%d", errno, n, how, n), 0o600); err != nil {
			return err
		}
		err := r.run()
		_, statErr := os.Stat(fault + ".fired")
		r.heal()
		if err == nil {
			err = r.look()
		}
		if err != nil {
			all = append(all, fmt.Errorf("call %d: %w", n, err))
		}
		if err := os.RemoveAll(r.dir); err != nil {
			return err
		}
		if statErr != nil || len(all) > 5 {
			fmt.Printf("each of %d calls failed: %v\n", n-1, tally)
			return errors.Join(all...)
		}
	}
}

type faultRun struct {
	dir, fault string
	acked      map[int64]string // seq to hash
	spent      []gateway.GrantID
	tally      map[string]int
}

func (r *faultRun) heal() { os.Remove(r.fault) }

func (r *faultRun) run() (err error) {
	ctx := context.Background()
	s, err := openStore(r.dir, newClock(), false)
	if err != nil {
		r.tally["not opened"]++
		if !store.DiskTrouble(err) {
			return fmt.Errorf("open: %w: not told as a trouble of the disk", err)
		}
		return nil
	}
	failures := 0
	note := func(err error) bool {
		if err != nil {
			failures++
		}
		return err == nil
	}
	for i := range 3 {
		g := oneTime("carrier.example", fmt.Sprintf("parcel-%d", i), "")
		door := gateway.Event{Door: "front", Issuer: g.ID.Issuer, Grant: g.ID.JTI}
		granted, released, secured := door, door, door
		granted.Type, released.Type, secured.Type = gateway.AccessGranted, gateway.StrikeReleased, gateway.StrikeSecured
		head := s.Head()
		opened := note(s.Update(ctx, func(tx *store.Tx) error {
			tx.Grants.Put(g, []byte("digest"))
			if !tx.Grants.Spend(g.ID) {
				return errors.Join(tx.Err(), errors.New("not spent"))
			}
			return tx.Record.Append(granted)
		}))
		if !opened {
			if s.Head() != head {
				return fmt.Errorf("the head moved from %d to %d, but nothing was written", head, s.Head())
			}
			continue
		}
		r.spent = append(r.spent, g.ID)
		r.acked[s.Head()] = ""
		note(s.Follow(ctx, func(tx *store.Tx) error { return tx.Record.Append(released) }))
		if note(s.Update(ctx, func(tx *store.Tx) error { return tx.Record.Append(secured) })) {
			r.acked[s.Head()] = ""
		}
	}
	if s.Healthy() && failures == 0 {
		r.tally["nothing noticed before Close"]++
		s.Close() // what fails here is the checkpoint: the WAL stays
		return nil
	}
	r.tally["an opening denied, or its outcome lost"]++
	r.heal()
	if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Record.Append(gateway.Event{Type: gateway.GatewayStopped}) }); err != nil {
		return fmt.Errorf("after healing: %w", err)
	}
	r.acked[s.Head()] = ""
	if !s.Healthy() {
		return errors.New("healed, but not healthy")
	}
	list, err := s.Events(ctx, 0, 100)
	if err != nil {
		return err
	}
	online := 0
	for _, e := range list {
		if e.Type == gateway.DeviceOnline && e.Device == "database" {
			online++
		}
		if _, ok := r.acked[e.Seq]; ok {
			r.acked[e.Seq] = e.Hash
		}
	}
	if online == 0 {
		return fmt.Errorf("%d writes failed, but no device_online tells of the recovery", failures)
	}
	return s.Close()
}

// look opens the folder on a healthy disk.
func (r *faultRun) look() error {
	ctx := context.Background()
	s, err := openStore(r.dir, newClock(), false)
	if err != nil {
		return fmt.Errorf("healed, but not opened: %w", err)
	}
	defer s.Close()
	if s.SetAside() != "" {
		return errors.New("set aside, for a trouble of the disk")
	}
	if v, err := s.Verify(ctx); err != nil || !v.OK {
		return fmt.Errorf("%+v %w", v, err)
	}
	list, err := s.Events(ctx, 0, 100)
	if err != nil {
		return err
	}
	there := map[int64]string{}
	for _, e := range list {
		there[e.Seq] = e.Hash
	}
	for seq, hash := range r.acked {
		if there[seq] == "" || hash != "" && there[seq] != hash {
			return fmt.Errorf("LOST: event %d was acknowledged", seq)
		}
	}
	for _, id := range r.spent {
		if err := s.Update(ctx, func(tx *store.Tx) error {
			if g, found := tx.Grants.Get(id); !found || g.Used != 1 || tx.Grants.Spend(id) {
				return fmt.Errorf("REVIVED: %s", id)
			}
			return tx.Err()
		}); err != nil {
			return err
		}
	}
	return nil
}

// TestFaults (D5).
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"ENOSPC:sticky", "EROFS:sticky", "EIO:sticky", "EIO:once"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			tr := trace(t)
			out := runChildOutput(t, tr, "faults", faultSpecs+"="+spec)
			t.Log(strings.TrimSpace(out))
		})
	}
}

// retryChild goes on after an fsync that failed, on the same connection, as the daemon
// does when the next courier comes.
func retryChild(dir string) error {
	v, err := newVisit(dir)
	if err != nil {
		return err
	}
	for i := range 5 {
		if i == 1 {
			if err := os.WriteFile(os.Getenv("GARDIEN_FAULT_FILE"), []byte(os.Getenv(faultSpecs)), 0o600); err != nil {
				return err
			}
		}
		if i == 4 {
			os.Remove(os.Getenv("GARDIEN_FAULT_FILE"))
		}
		v.opening(i) // whatever comes of it: what was acknowledged is in the log
	}
	if !v.store.Healthy() {
		return errors.New("not healthy at the end")
	}
	return v.store.Close()
}

// TestFailedSync: the kernel drops the pages whose write-back failed, and says so once.
// What is acknowledged afterwards must be as durable as ever.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	runs, cuts, began := 0, 0, time.Now()
	for n := 1; ; n++ {
		tr := trace(t)
		ops := runChild(t, tr, "retry", fmt.Sprintf("%s=fsync:EIO:%d:once", faultSpecs, n))
		fault := -1
		for i, op := range ops {
			if op.Kind == powercut.Fault {
				fault = i
			}
		}
		if fault < 0 {
			break
		}
		runs++
		dir := ramDir(t)
		report, err := powercut.Walk{Modes: []powercut.Mode{powercut.Dropped, powercut.Torn}, Dir: dir, Check: heldTo(false),
			Try: func(p int) bool {
				return p >= fault && (p == len(ops) || p%25 == 0 || ops[p-1].Kind == powercut.Ack)
			},
			Recover: func() (any, error) { return recoverIn(dir) }}.Run(ops)
		if err != nil {
			t.Fatal(err)
		}
		cuts += report.Points
		if len(report.Failures) > 0 {
			t.Errorf("fsync %d (%v):", n, ops[fault])
		}
		fail(t, report)
	}
	t.Logf("%d fsyncs failed in turn, %d cuts after them, %.1f s", runs, cuts, time.Since(began).Seconds())
}

package store_test

import (
	"context"
	"encoding/json"
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

// recovered is what a restart finds.
type recovered struct {
	first, head int64
	hash        map[int64]string // by seq
	used        map[string]bool  // jti of grants that cannot be spent
	refs        map[string]bool  // in the raw files before the start
	floor       time.Time
}

// recoverIn starts again on what a cut has left, looks that nothing is wrong with it in
// itself, and says what is there.
func recoverIn(dir string) (_ *recovered, err error) {
	r := &recovered{hash: map[int64]string{}, used: map[string]bool{}, refs: map[string]bool{}}
	for _, raw := range rawFiles(dir) {
		for {
			_, tail, found := strings.Cut(raw, "ref-")
			if !found {
				break
			}
			r.refs["ref-"+tail[:min(len(tail), len(ref(0))-4)]] = true
			raw = tail
		}
	}
	ctx := context.Background()
	s, err := store.Open(store.Opts{Dir: dir, Zone: paris, Log: quiet})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.SetAside() != "" {
		return nil, errors.New("CORRUPT: set aside")
	}
	if why := s.RolledBack(); why != "" {
		return nil, fmt.Errorf("FALSE ALARM: %s", why)
	}
	saved, err := savedClock(s)
	if err == nil {
		r.floor = saved.Floor
		err = errors.Join(s.Belong(gatewayID), s.SetClock(newClock()))
	}
	if err != nil {
		return nil, err
	}
	v, err := s.Verify(ctx)
	if err != nil || !v.OK {
		return nil, fmt.Errorf("CORRUPT: %+v %v", v, err)
	}
	events, err := s.Events(ctx, 0, 10*openings)
	if err != nil {
		return nil, err
	}
	open := map[gateway.AttemptID]bool{}
	for _, e := range events {
		if r.first == 0 {
			r.first = e.Seq
		}
		r.head, r.hash[e.Seq] = e.Seq, e.Hash
		switch e.Type {
		case gateway.AccessGranted:
			open[e.Attempt] = true
		case gateway.StrikeSecured:
			clear(open) // of the door, and there is one
		}
	}
	grants, err := store.Look(ctx, s, func(tx *store.Tx) []gateway.GrantRecord { return tx.Grants.List(gateway.GrantID{}, openings) })
	if err != nil {
		return nil, err
	}
	rollBack := errors.New("roll back")
	err = s.Update(ctx, func(tx *store.Tx) error {
		for _, g := range grants {
			r.used[g.ID.JTI] = !tx.Grants.Spend(g.ID) && g.Used == g.Uses && tx.Err() == nil
		}
		return rollBack
	})
	if !errors.Is(err, rollBack) {
		return nil, err
	}
	return r, interrupted(s, len(open))
}

// interrupted writes the entries that are open as interrupted, and looks that none is left.
func interrupted(s *store.Store, want int) error {
	for _, want := range []int{want, 0} {
		n := 0
		if err := s.Update(context.Background(), func(tx *store.Tx) error { n = len(tx.Record.Interrupt()); return tx.Err() }); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%d entries were open, want %d", n, want)
		}
	}
	return nil
}

func rawFiles(dir string) map[string]string {
	files := map[string]string{}
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasSuffix(path, "-shm") {
			b, _ := os.ReadFile(path)
			files[e.Name()] = string(b)
		}
		return nil
	})
	return files
}

// heldTo says whether what was recovered keeps what was acknowledged; lax also believes
// acknowledgements of Follow across a power cut.
func heldTo(lax bool) func(powercut.Cut, any, []string) error {
	var list []ack // acks only grow
	return func(cut powercut.Cut, result any, acks []string) error {
		r := result.(*recovered)
		var kept int64
		for _, text := range acks[len(list):] {
			var a ack
			if err := json.Unmarshal([]byte(text), &a); err != nil {
				return err
			}
			list = append(list, a)
		}
		for _, a := range list {
			if a.Kind == "retain" {
				kept = a.Seq
			}
		}
		for _, a := range list {
			switch a.Kind {
			case "durable", "followed":
				if a.Kind == "followed" && cut.Mode != powercut.Kept && !lax {
					continue
				}
				if a.Seq >= max(kept, r.first) && r.hash[a.Seq] != a.Hash || a.Seq < r.first && a.Seq >= kept {
					return fmt.Errorf("LOST: event %d was acknowledged (%s), the record has %d to %d", a.Seq, a.Kind, r.first, r.head)
				}
				if a.Grant != "" && !r.used[a.Grant] {
					return fmt.Errorf("REVIVED: the spend of %s was acknowledged", a.Grant)
				}
			case "floor":
				if r.floor.Before(a.Floor.Truncate(time.Millisecond)) {
					return fmt.Errorf("LOST: floor %v was acknowledged, it is %v", a.Floor, r.floor)
				}
			case "forgot":
				if r.refs[a.Ref] {
					return fmt.Errorf("REMEMBERED: %s was forgotten", a.Ref)
				}
			}
		}
		return nil
	}
}

// sample gives the points to try: all with the flag, else 301 spread evenly and those
// at which the checkpoints begin, end, sync and truncate.
func sample(ops []powercut.Op) func(int) bool {
	if *allCuts {
		return nil
	}
	try := map[int]bool{}
	for i := range 301 {
		try[i*len(ops)/300] = true
	}
	for i := 1; i < len(ops); i++ {
		if (ops[i].Path == store.FileName) != (ops[i-1].Path == store.FileName) || ops[i].Kind == powercut.Truncate {
			for p := i; p <= i+2; p++ {
				try[p] = true
			}
		}
	}
	return func(point int) bool { return try[point] }
}

// TestPowerCut cuts the power at the I/O calls of 400 entries (D3).
func TestPowerCut(t *testing.T) {
	t.Parallel()
	tr := trace(t)
	ops := runChild(t, tr, "openings")
	complete(t, tr, ops)
	logOps(t, ops)
	costs(t, ops)
	try := sample(ops)
	for _, mode := range []powercut.Mode{powercut.Dropped, powercut.Kept, powercut.Torn} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			dir := ramDir(t)
			report, err := powercut.Walk{Modes: []powercut.Mode{mode}, Try: try, Dir: dir, Check: heldTo(false),
				Recover: func() (any, error) { return recoverIn(dir) }}.Run(ops)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d calls, %d cuts checked, %d states recovered, %d failures, %.1f s (%.2f ms a state)", len(ops), report.Points,
				report.Recovered, len(report.Failures), report.Elapsed.Seconds(), float64(report.Elapsed.Milliseconds())/float64(report.Recovered))
			fail(t, report)
		})
	}
}

// TestPowerCutCanFail shows that the harness sees a loss: a Follow alone does not
// outlive the power, and that it is lost is all that is wrong.
func TestPowerCutCanFail(t *testing.T) {
	t.Parallel()
	ops := runChild(t, trace(t), "openings")
	ops = ops[:1200]
	for mode, want := range map[powercut.Mode]bool{powercut.Dropped: true, powercut.Kept: false} {
		dir := ramDir(t)
		report, err := powercut.Walk{Modes: []powercut.Mode{mode}, Try: func(p int) bool { return p%7 == 0 || ops[p-1].Kind == powercut.Ack }, Dir: dir, Check: heldTo(true),
			Recover: func() (any, error) { return recoverIn(dir) }}.Run(ops)
		if err != nil {
			t.Fatal(err)
		}
		lost := 0
		for _, f := range report.Failures {
			if !strings.Contains(f.Err.Error(), "LOST") || !strings.Contains(f.Err.Error(), "(followed)") {
				t.Errorf("more than a Follow was lost: %v", f)
			}
			lost++
		}
		if (lost > 0) != want {
			t.Errorf("%v: %d losses", mode, lost)
		}
		if lost > 0 {
			t.Logf("%v: %d of %d cuts lose a Follow, such as: %v", mode, lost, report.Points, report.Failures[0])
		}
	}
}

func logOps(t *testing.T, ops []powercut.Op) {
	t.Helper()
	n := map[powercut.Kind]int{}
	for _, op := range ops {
		n[op.Kind]++
	}
	t.Logf("%d entries: %d writes, %d fsyncs, %d truncations, %d acknowledgements", openings,
		n[powercut.Write], n[powercut.Sync], n[powercut.Truncate], n[powercut.Ack])
}

// costs holds each opening, from the decision to the strike secured, to D6.
func costs(t *testing.T, ops []powercut.Op) {
	t.Helper()
	var bytes, syncs, most, mostSyncs, sum, n int
	within := false
	for _, op := range ops {
		switch op.Kind {
		case powercut.Write:
			bytes += len(op.Data)
		case powercut.Sync:
			syncs++
		case powercut.Ack:
			var a ack
			if err := json.Unmarshal(op.Data, &a); err != nil {
				t.Fatal(err)
			}
			switch {
			case a.Grant != "" || a.Kind == "followed":
				within = true
				continue
			case within:
				most, mostSyncs, sum, n, within = max(most, bytes), max(mostSyncs, syncs), sum+bytes, n+1, false
			}
			bytes, syncs = 0, 0
		}
	}
	t.Logf("an opening writes %d bytes, at most %d, and syncs %d times at most", sum/n, most, mostSyncs)
	if n != openings || most > 32<<10 || mostSyncs > 2 {
		t.Errorf("more than D6 allows, over %d openings", n)
	}
}

func fail(t *testing.T, report powercut.Report) {
	t.Helper()
	for i, f := range report.Failures {
		if i == 5 {
			t.Errorf("… and %d more", len(report.Failures)-i)
			return
		}
		t.Error(f)
	}
}

// complete shows that the record misses nothing: replayed to its end, it gives what
// is in the folder.
func complete(t *testing.T, tr powercut.Trace, ops []powercut.Op) {
	t.Helper()
	disk := powercut.NewDisk()
	for _, op := range ops {
		if err := disk.Apply(op); err != nil {
			t.Fatal(err)
		}
	}
	want, err := powercut.ReadState(tr.Dir)
	if err != nil {
		t.Fatal(err)
	}
	got := disk.State(powercut.Kept, 0)
	for path := range want {
		if !disk.Ignored(path) && string(got[path]) != string(want[path]) {
			t.Errorf("%s: the folder and the replayed record differ", path)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: only in the replayed record", path)
		}
	}
}

// errTripped says that a start has seen that the database is not what it once acknowledged.
var errTripped = errors.New("tripped")

// TestR1_LyingDisk: a card says that what it was told to keep is kept, and it is not. The start
// sees it, or nothing that counts was lost.
func TestR1_LyingDisk(t *testing.T) {
	t.Parallel()
	ops := runChild(t, trace(t), "openings")
	dir := ramDir(t)
	some := sample(ops)
	witnessed := sawWitness(ops)
	tripped, seen := 0, 0
	report, err := powercut.Walk{Modes: []powercut.Mode{powercut.Lying}, Dir: dir,
		Try: func(p int) bool { return witnessed[p] && (some == nil || some(p)) },
		Recover: func() (any, error) {
			r, err := recoverIn(dir)
			if err != nil && (strings.Contains(err.Error(), "FALSE ALARM") || strings.Contains(err.Error(), "set aside")) {
				return errTripped, nil
			}
			return r, err
		},
		Check: func(cut powercut.Cut, result any, acks []string) error {
			if result == errTripped {
				tripped++
				return nil
			}
			seen++
			return heldTo(false)(cut, result, whatCounts(acks, result.(*recovered).first))
		}}.Run(ops)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cuts, %d seen at the start, %d lost nothing, %d failures, %.1f s", report.Points, tripped, seen, len(report.Failures), report.Elapsed.Seconds())
	if tripped < report.Points/10 {
		t.Errorf("%d of %d cuts were seen: the disk does not lie", tripped, report.Points)
	}
	fail(t, report)
}

// sawWitness says at which points the witness knows of the last commit that was acknowledged. It
// is written beside, some microseconds later.
func sawWitness(ops []powercut.Op) []bool {
	saw := make([]bool, len(ops)+1)
	behind := 0
	for i, op := range ops {
		switch {
		case op.Kind == powercut.Ack && (strings.Contains(string(op.Data), `"durable"`) || strings.Contains(string(op.Data), `"floor"`)):
			behind++
		case op.Kind == powercut.Write && op.Path == store.WitnessName:
			behind = 0
		}
		saw[i+1] = behind == 0
	}
	return saw
}

// whatCounts leaves out what a lying disk may lose unseen: bytes of what was forgotten, which may
// come back, and spends that the record does not have any more. This child keeps its record for a
// minute; a gateway keeps it for months.
func whatCounts(acks []string, first int64) (list []string) {
	for _, text := range acks {
		var a ack
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			panic(err) // what the child wrote
		}
		if a.Kind != "forgot" && (a.Grant == "" || a.Seq >= first) {
			list = append(list, text)
		}
	}
	return list
}

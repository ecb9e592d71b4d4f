package certs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gardien/gateway"
)

// cut ends the program at one step of the writes, as a power cut does: no line runs after it.
type cut struct{ op, name string }

// cutAt runs f, and cuts the power at step n. It gives the step, or ok false if there were fewer.
func cutAt(n int, f func(fault func(op, name string) error)) (c cut, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			c, ok = v.(cut), true
		}
	}()
	f(func(op, name string) error {
		if n--; n < 0 {
			panic(cut{op, name})
		}
		return nil
	})
	return cut{}, false
}

// afterCut does to the disk what losing power at c may do besides: what was not flushed is gone, or not.
func afterCut(t *testing.T, dir string, c cut, lost bool, before map[string][]byte) {
	t.Helper()
	path := filepath.Join(dir, c.name)
	switch {
	case c.op == "sync" && lost: // half of it arrived
		fi, err := os.Stat(path + ".new")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path+".new", fi.Size()/2); err != nil {
			t.Fatal(err)
		}
	case c.op == "syncdir" && lost: // the rename did not
		if err := os.Rename(path, path+".new"); err != nil {
			t.Fatal(err)
		}
		if old, ok := before[c.name]; ok {
			if err := os.WriteFile(path, old, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]byte{}
	for _, e := range entries {
		if m[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// D3: the power is cut at each step of the first start, and at each step of the start after that:
// it heals by itself, leaves nothing half done, and keeps what was shown.
func TestD3_PowerCutInTheFirstStart(t *testing.T) {
	c, cuts := at(synced(moved)), 0
	for _, lost := range []bool{false, true} {
		for n := 0; ; n++ {
			dir := t.TempDir()
			step, ok := cutAt(n, func(fault func(string, string) error) { open(opts(dir, c), fault) })
			if !ok {
				break
			}
			afterCut(t, dir, step, lost, nil)
			left := files(t, dir)
			for m := 0; ; m++ { // and once more, in what heals
				again := t.TempDir()
				for name, b := range left {
					if err := os.WriteFile(filepath.Join(again, name), b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				second, cutTwice := cutAt(m, func(fault func(string, string) error) { open(opts(again, c), fault) })
				if cutTwice {
					afterCut(t, again, second, lost, left)
				}
				cuts++
				heals(t, again, c, fmt.Sprintf("cut at %v, then %v, unflushed lost: %v", step, second, lost))
				if !cutTwice {
					break
				}
			}
		}
	}
	if cuts < 300 {
		t.Errorf("%d cuts: this test looks at nothing", cuts)
	}
	t.Logf("%d pairs of cuts", cuts)
}

func heals(t *testing.T, dir string, c *clock, when string) {
	t.Helper()
	before := files(t, dir)
	h, err := Open(opts(dir, c))
	if err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	after := files(t, dir)
	if _, complete := before[caFile]; complete {
		for _, name := range []string{caFile, caKeyFile, leafKeyFile} {
			if !bytes.Equal(before[name], after[name]) {
				t.Errorf("%s: %s is another, and the old one may have been shown", when, name)
			}
		}
	}
	again := mustOpen(t, opts(dir, c))
	if again.CAFingerprint() != h.CAFingerprint() || again.Fingerprint() != h.Fingerprint() || !leafOf(t, again).Equal(leafOf(t, h)) {
		t.Errorf("%s: not on the disk", when)
	}
	for name := range after {
		if !strings.HasPrefix(name, "leaf.") && !strings.HasPrefix(name, "house-ca.") {
			t.Errorf("%s: %s is left", when, name)
		}
	}
}

// D3: a card that lies about its flush may leave a key without its content; nobody has seen it.
func TestD3_SpoiltKeyOfAnUnseenHouse(t *testing.T) {
	for _, name := range []string{caKeyFile, leafKeyFile} {
		dir, c := t.TempDir(), at(synced(moved))
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		heals(t, dir, c, "empty "+name)
	}
}

// D3: the power is cut while leaf and CA are made anew: the keys stay, and the next start has a good leaf.
func TestD3_PowerCutInAReissue(t *testing.T) {
	c := at(undecided(built.AddDate(60, 0, 0)))
	for _, lost := range []bool{false, true} {
		for n := 0; ; n++ {
			dir := t.TempDir()
			c.set(undecided(built.AddDate(60, 0, 0)))
			fp := mustOpen(t, opts(dir, c)).Fingerprint()
			before := files(t, dir)
			c.set(synced(moved))
			step, ok := cutAt(n, func(fault func(string, string) error) { open(opts(dir, c), fault) })
			if !ok {
				if n != 10 {
					t.Errorf("%d steps", n)
				}
				break
			}
			afterCut(t, dir, step, lost, before)
			h, err := Open(opts(dir, c))
			if err != nil {
				t.Errorf("cut at %v: %v", step, err)
				continue
			}
			if h.Fingerprint() != fp || c.Read().In(period(leafOf(t, h))) != gateway.PlaceInside || c.Read().In(period(caOf(t, h))) != gateway.PlaceInside {
				t.Errorf("cut at %v: the house is not what it should be", step)
			}
		}
	}
}

// D5: a disk that takes no writes keeps no handshake away once the house is made; what it does not
// take is told once. The next start tries again.
func TestD5_DiskTakesNoWrites(t *testing.T) {
	for _, why := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EIO} {
		for _, op := range []string{"create", "write", "sync", "rename", "syncdir"} {
			dir, c, j := t.TempDir(), at(synced(moved)), new(journal)
			mustOpen(t, opts(dir, c))
			o := opts(dir, c)
			o.Log = j.logger()
			h, err := open(o, func(o, _ string) error {
				if o == op {
					return why
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			now := moved
			for range 5 {
				now = now.Add(300 * day)
				c.set(synced(now))
				checkNow(t, h, c.Read())
			}
			if n := j.count("cannot be kept"); n != 1 {
				t.Errorf("%v at %s: told %d times", why, op, n)
			}
			if _, err := os.Stat(filepath.Join(dir, leafFile+".new")); err == nil {
				t.Errorf("%v at %s: half a file is left", why, op)
			}
			checkNow(t, mustOpen(t, opts(dir, c)), c.Read())
		}
	}
}

// D5: a first start on such a disk fails and says so: what cannot be kept must not be trusted. Once the
// disk takes writes, it starts.
func TestD5_FirstStartNeedsADisk(t *testing.T) {
	for n := 0; n < 15; n++ {
		dir, c, step := t.TempDir(), at(synced(moved)), 0
		_, err := open(opts(dir, c), func(op, name string) error {
			if step++; step > n {
				return syscall.ENOSPC
			}
			return nil
		})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "cannot be kept") {
			t.Errorf("failing from step %d: %v", n, err)
		}
		heals(t, dir, c, fmt.Sprintf("full from step %d", n))
	}
}

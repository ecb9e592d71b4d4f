package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"gardien/gateway"
)

// Address is where a pin is in this kernel. It can change when a chip comes back.
type Address struct {
	Path   string // device node
	Chip   string // the kernel's name, as in gpiochip0
	Label  string // as in pinctrl-bcm2711
	Offset int
}

func (a Address) String() string { return fmt.Sprintf("%s line %d", a.Chip, a.Offset) }

// ErrNoChip means that the kernel has no GPIO chip at all: this is no Raspberry Pi, or its
// driver is not loaded.
var ErrNoChip = errors.New("this machine has no GPIO (no /dev/gpiochip*)")

type chip struct {
	path, name, label string
	lines             int
}

// Find looks a pin up in the kernel. It requests nothing.
func Find(p gateway.Line) (Address, error) {
	chips, err := chips()
	if err != nil {
		return Address{}, err
	}
	if p.Chip != "" {
		for _, c := range chips {
			if c.name != p.Chip && c.label != p.Chip {
				continue
			}
			if p.Number >= c.lines {
				return Address{}, fmt.Errorf("%s: the chip has lines 0 to %d", p, c.lines-1)
			}
			return Address{c.path, c.name, c.label, p.Number}, nil
		}
		return Address{}, fmt.Errorf("%s: there is no such chip: this machine has %s", p, list(chips))
	}
	var found []Address
	for _, c := range chips {
		if offset, ok := c.find(p.String()); ok {
			found = append(found, Address{c.path, c.name, c.label, offset})
		}
	}
	for _, c := range chips { // kernels that do not name the lines
		if len(found) == 0 && gateway.IsHeaderChip(c.label) && p.Header < c.lines {
			found = append(found, Address{c.path, c.name, c.label, p.Header})
		}
	}
	switch len(found) {
	case 0:
		return Address{}, fmt.Errorf("%s: no chip has a line of that name: this machine has %s", p, list(chips))
	case 1:
		return found[0], nil
	}
	for _, a := range found {
		if gateway.IsHeaderChip(a.Label) {
			return a, nil
		}
	}
	return Address{}, fmt.Errorf("%s: %s and %s have a line of that name: write the pin as chip:line, as in %s:%d",
		p, found[0].Chip, found[1].Chip, found[0].Chip, found[0].Offset)
}

func list(chips []chip) string {
	var s []string
	for _, c := range chips {
		s = append(s, fmt.Sprintf("%s (%s, %d lines)", c.name, c.label, c.lines))
	}
	return strings.Join(s, ", ")
}

// chips lists the kernel's chips, each once: a second device node may name the same one (Pi 5).
func chips() ([]chip, error) {
	paths, err := filepath.Glob("/dev/gpiochip*")
	if err != nil || len(paths) == 0 {
		return nil, ErrNoChip
	}
	var all []chip
	var denied error
	for _, path := range paths {
		c, err := openChip(path)
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				denied = fmt.Errorf("%s: %w: run gardiend as a member of the group that owns it (on Raspberry Pi OS: gpio)", path, fs.ErrPermission)
			}
			continue
		}
		if !slices.ContainsFunc(all, func(o chip) bool { return o.name == c.name }) {
			all = append(all, c)
		}
	}
	if denied != nil && len(all) == 0 {
		return nil, denied
	}
	if len(all) == 0 {
		return nil, ErrNoChip
	}
	return all, nil
}

func openChip(path string) (chip, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return chip{}, err
	}
	defer f.Close()
	info, err := uapi.GetChipInfo(f.Fd())
	if err != nil {
		return chip{}, fmt.Errorf("%s: %w", path, err)
	}
	return chip{path, uapi.BytesToString(info.Name[:]), uapi.BytesToString(info.Label[:]), int(info.Lines)}, nil
}

// find looks for a line by its name.
func (c chip) find(name string) (int, bool) {
	f, err := os.OpenFile(c.path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for i := range c.lines {
		if info, err := uapi.GetLineInfoV2(f.Fd(), i); err == nil && uapi.BytesToString(info.Name[:]) == name {
			return i, true
		}
	}
	return 0, false
}

// Holder names who holds a line; "" where nobody does.
func Holder(a Address) string {
	f, err := os.OpenFile(a.Path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := uapi.GetLineInfoV2(f.Fd(), a.Offset)
	if err != nil || !info.Flags.IsUsed() {
		return ""
	}
	if s := uapi.BytesToString(info.Consumer[:]); s != "" {
		return s
	}
	return "the kernel"
}

// request asks for lines of one chip, which has its first level with its direction.
func request(all []Address, consumer string, c uapi.LineConfig, events int) (*os.File, error) {
	f, err := os.OpenFile(all[0].Path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := uapi.LineRequest{Config: c, Lines: uint32(len(all)), EventBufferSize: uint32(events)}
	copy(r.Consumer[:len(r.Consumer)-1], consumer)
	for i, a := range all {
		r.Offsets[i] = uint32(a.Offset)
	}
	if err := uapi.GetLine(f.Fd(), &r); err != nil {
		if errors.Is(err, unix.EBUSY) {
			for _, a := range all {
				if who := Holder(a); who != "" {
					return nil, fmt.Errorf("%s is held by %q: stop that program, or take another line: %w", a, who, err)
				}
			}
		}
		return nil, fmt.Errorf("%s: %w", all[0], err)
	}
	if err := unix.SetNonblock(int(r.Fd), true); err != nil {
		unix.Close(int(r.Fd))
		return nil, err
	}
	return os.NewFile(uintptr(r.Fd), all[0].String()), nil
}

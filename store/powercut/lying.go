package powercut

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// maxLies is how many of the last syncs a lying disk may not have done.
const maxLies = 64

// undo takes one change back: the image had that size, and there these bytes.
type undo struct {
	size, off int64
	old       []byte
}

// apply takes the change back: whole where odds is 1, else so many of its sectors.
func (u undo) apply(image []byte, rng *rand.Rand, odds float64) []byte {
	if odds == 1 {
		return writeAt(resize(image, u.size), u.off, u.old)
	}
	end := u.off + int64(len(u.old))
	for off := u.off; off < end; {
		next := min(end, (off/SectorSize+1)*SectorSize)
		if rng.Float64() < odds {
			image = writeAt(image, off, u.old[off-u.off:next-u.off])
		}
		off = next
	}
	return image
}

// lie is what a disk leaves that has not done the last syncs: of each file either none from some
// sync on, or an arbitrary part of the sectors.
func (d *Disk) lie(rng *rand.Rand) State {
	state := State{}
	odds := [...]float64{0.05, 0.5, 1}[rng.IntN(3)]
	for _, path := range slices.Sorted(maps.Keys(d.names)) {
		ino := d.names[path]
		if d.Ignored(path) {
			continue
		}
		if ino.undo == nil {
			state[path] = ino.live
			continue
		}
		if d.durable[path] != ino {
			continue
		}
		image := bytes.Clone(ino.synced)
		lies := min(len(ino.undo), rng.IntN(maxLies))
		for _, steps := range slices.Backward(ino.undo[len(ino.undo)-lies:]) {
			for _, u := range slices.Backward(steps) {
				image = u.apply(image, rng, odds)
			}
		}
		state[path] = image
	}
	return state
}

// remember notes what the coming sync overwrites.
func (ino *inode) remember(metaCut int) {
	var steps []undo
	length := int64(len(ino.synced))
	for _, c := range ino.unsynced {
		if c.meta > metaCut {
			continue
		}
		from, to := c.off, c.off+int64(len(c.data))
		if c.meta != 0 {
			to = length // a truncation
		}
		u := undo{size: length, off: min(from, length)}
		if had := int64(len(ino.synced)); from < min(to, had) {
			u.old = bytes.Clone(ino.synced[from:min(to, had)])
		}
		steps = append(steps, u)
	}
	if ino.undo = append(ino.undo, steps); len(ino.undo) > maxLies {
		ino.undo = ino.undo[1:]
	}
}

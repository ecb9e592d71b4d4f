package powercut

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// Mode says what becomes of that which was not synced when the power went.
type Mode int

const (
	// Dropped: nothing unsynced is on the disk.
	Dropped Mode = iota
	// Kept: everything is.  This is also the state after a crash of the
	// program alone (SIGKILL).
	Kept
	// Torn: an arbitrary part is, sector by sector.
	Torn
	// Lying: the disk said of its last syncs that they were done, and of what they were to make
	// durable an arbitrary part is not there, from some sync on or sector by sector. A file that
	// the program never synced is as in Kept: the kernel wrote it back in its own time.
	Lying
)

func (m Mode) String() string { return [...]string{"dropped", "kept", "torn", "lying"}[m] }

// SectorSize is the unit that the disk writes whole or not at all.
const SectorSize = 512

// Disk is a model of a folder on a disk, fed with the calls of a run.
//
// It models ext4 with data=ordered, as pessimistically as that allows:
//
//   - Data.  fsync and fdatasync of a file make durable whatever was written
//     to it before.  Of the writes since then any sectors may have reached
//     the disk, in any order: page cache write-back knows no order.
//   - File size after an extending write is part of the data here: it is
//     updated when write-back allocates the blocks.  The file may therefore
//     have its old size, or any up to the new one; sectors below it that did
//     not make it read as zeros (unwritten extents), never as stale content of
//     other files, which is what data=ordered is about.
//   - Names and explicit truncation are metadata, which the journal (jbd2)
//     commits strictly in order: after a cut, the effects of a prefix of all
//     creations, truncations, renames and unlinks are there.  Syncing a file
//     commits the prefix up to that file's own last metadata call - on ext4
//     this includes the creation, so a new file's name is durable without a
//     sync of its directory.  Syncing a directory commits the prefix up to the
//     last call that changed it.  In reality, a commit takes along everything
//     that is in the running transaction; not counting on this is what
//     pessimistic means above.  Neither is auto_da_alloc (the implicit flush
//     on replacement by rename or truncation) counted on.
//   - Data written beyond a truncation that is itself lost is lost with it:
//     the new blocks hang on the extent tree of the lost transaction.
//   - A failed fsync marks the pages clean: what was unsynced then is never
//     written later, although the program reads it back (since Linux 4.13 the
//     error is reported once).  Torn may still have it up to the next
//     successful sync, as some of it may have been written before the failure.
//
// Not modelled: sectors damaged by the cut or by ageing, sub-folders as metadata
// of their own.
type Disk struct {
	// Ignored says which files to leave out of every state; initially
	// those which SQLite rebuilds (-shm) and the acknowledgements.
	Ignored func(path string) bool

	names    map[string]*inode   // as the program sees them
	durable  map[string]*inode   // as of the last committed metadata
	pending  []metaOp            // not committed, in order
	metaSeq  int                 // number of metadata calls so far
	metaDone int                 // how many of them are committed
	dirLast  map[string]int      // by directory: its last metadata call
	fds      map[fdKey]*openFile // open descriptors
	applied  int
	version  [4]int // by mode: changes whenever a state may have changed
}

type fdKey struct {
	pid uint32
	fd  int32
}

type openFile struct {
	path string
	ino  *inode // nil for a directory
}

// inode is a file, whatever its name.
type inode struct {
	live     []byte // as the program sees it
	synced   []byte // as of the last successful sync
	unsynced []change
	metaLast int      // its last own metadata call
	undo     [][]undo // of the last syncs, for Lying
}

// change is a write, or a truncation if meta is not 0.
type change struct {
	off  int64 // or the new size
	data []byte
	meta int  // number of the metadata call
	lost bool // a sync failed since: the next one will not write it
}

// metaOp is a change to the names.
type metaOp struct {
	seq      int
	from, to string // create: only to; unlink: only from
	ino      *inode // create
}

func (m metaOp) apply(names map[string]*inode) {
	ino := m.ino
	if m.from != "" {
		ino = names[m.from]
		delete(names, m.from)
	}
	if m.to != "" && ino != nil {
		names[m.to] = ino
	}
}

// NewDisk returns the model of an empty folder.
func NewDisk() *Disk {
	return &Disk{
		Ignored: func(path string) bool {
			return path == AckFile || strings.HasSuffix(path, "-shm")
		},
		names:   map[string]*inode{},
		durable: map[string]*inode{},
		dirLast: map[string]int{},
		fds:     map[fdKey]*openFile{},
	}
}

// Version returns a number that stays the same as long as State(mode, seed)
// is sure to return the same state.
func (d *Disk) Version(mode Mode) int { return d.version[mode] }

// Apply applies the run's next call.  An error means that log and model do
// not agree, so that nothing can be said of any later state.
func (d *Disk) Apply(op Op) error {
	if err := d.apply(op); err != nil {
		return fmt.Errorf("call %d (%v): %w", d.applied, op, err)
	}
	d.applied++
	return nil
}

func (d *Disk) apply(op Op) error {
	d.changed(Lying)
	key := fdKey{op.PID, op.FD}
	switch op.Kind {
	case Open:
		return d.open(op, key)
	case Close:
		delete(d.fds, key)
		return nil
	case Ack:
		return nil
	case Unlink:
		if d.names[op.Path] == nil {
			return fmt.Errorf("no such file")
		}
		d.names[op.Path].metaLast = d.meta(metaOp{from: op.Path})
		delete(d.names, op.Path)
		return nil
	case Rename:
		ino, to := d.names[op.Path], string(op.Data)
		if ino == nil {
			return fmt.Errorf("no such file")
		}
		ino.metaLast = d.meta(metaOp{from: op.Path, to: to})
		delete(d.names, op.Path)
		d.names[to] = ino
		return nil
	case Fault:
		if op.Failed == Sync {
			d.failSync(key)
		}
		return nil
	}

	f := d.fds[key]
	if f == nil {
		return fmt.Errorf("descriptor %d is not open", op.FD)
	}
	if f.ino == nil { // a directory
		if op.Kind != Sync {
			return fmt.Errorf("not possible with a directory")
		}
		d.commit(d.dirLast[f.path])
		return nil
	}
	switch op.Kind {
	case Write:
		f.ino.live = writeAt(f.ino.live, op.Off, op.Data)
		f.ino.unsynced = append(f.ino.unsynced, change{off: op.Off, data: op.Data})
		d.changed(Kept, Torn)
	case Truncate:
		d.truncate(f.ino, op.Off)
	case Sync:
		d.sync(f.ino)
	default:
		return fmt.Errorf("unknown kind")
	}
	return nil
}

func (d *Disk) open(op Op, key fdKey) error {
	if op.Directory {
		d.fds[key] = &openFile{path: op.Path}
		return nil
	}
	ino := d.names[op.Path]
	switch {
	case op.Created && ino != nil:
		return fmt.Errorf("created, but was there already")
	case op.Created:
		ino = &inode{}
		ino.metaLast = d.meta(metaOp{to: op.Path, ino: ino})
		d.names[op.Path] = ino
	case ino == nil && op.Off == 0:
		// The Go runtime created it, which the shim does not see. It was empty
		// until now, so nothing is missed but how early the name may be there.
		op.Created = true
		return d.open(op, key)
	case ino == nil:
		return fmt.Errorf("not known to be there: the folder was not empty")
	case op.Off != int64(len(ino.live)) && !d.Ignored(op.Path):
		return fmt.Errorf("%d bytes long, but %d were recorded: something writes past the shim", op.Off, len(ino.live))
	case op.Truncated:
		d.truncate(ino, 0)
	}
	d.fds[key] = &openFile{path: op.Path, ino: ino}
	return nil
}

// meta numbers a change to the names and puts it into the journal.
func (d *Disk) meta(m metaOp) int {
	d.metaSeq++
	m.seq = d.metaSeq
	d.pending = append(d.pending, m)
	for _, p := range []string{m.from, m.to} {
		if p != "" {
			d.dirLast[filepath.Dir(p)] = m.seq
		}
	}
	d.changed(Kept, Torn)
	return m.seq
}

func (d *Disk) truncate(ino *inode, size int64) {
	ino.live = resize(ino.live, size)
	d.metaSeq++ // no name changes, but it has its place in the order
	ino.metaLast = d.metaSeq
	ino.unsynced = append(ino.unsynced, change{off: size, meta: d.metaSeq})
	d.changed(Kept, Torn)
}

// commit makes the metadata up to call number seq durable.
func (d *Disk) commit(seq int) {
	if seq <= d.metaDone {
		return
	}
	d.metaDone = seq
	for len(d.pending) > 0 && d.pending[0].seq <= seq {
		d.pending[0].apply(d.durable)
		d.pending = d.pending[1:]
	}
	d.changed(Dropped, Torn)
}

func (d *Disk) sync(ino *inode) {
	d.commit(ino.metaLast)
	if len(ino.unsynced) == 0 {
		return
	}
	ino.remember(d.metaDone)
	ino.synced = ino.replay(ino.synced, d.metaDone, func(image []byte, c change) []byte {
		if c.lost {
			return image
		}
		return writeAt(image, c.off, c.data)
	})
	ino.unsynced = nil
	d.changed(Dropped, Torn)
}

func (d *Disk) failSync(key fdKey) {
	f := d.fds[key]
	if f == nil || f.ino == nil {
		return
	}
	for i := range f.ino.unsynced {
		f.ino.unsynced[i].lost = true
	}
}

func (d *Disk) changed(modes ...Mode) {
	for _, m := range modes {
		d.version[m]++
	}
}

// replay applies the unsynced changes to image: truncations if their metadata
// is within the first metaCut calls, writes as the given function does.
func (ino *inode) replay(image []byte, metaCut int, write func([]byte, change) []byte) []byte {
	limit := int64(-1) // a lost truncation's size: nothing beyond can be new
	for _, c := range ino.unsynced {
		switch {
		case c.meta != 0 && c.meta <= metaCut:
			image = resize(image, c.off)
		case c.meta != 0:
			if limit < 0 || c.off < limit {
				limit = c.off
			}
		case limit < 0 || c.off+int64(len(c.data)) <= limit:
			image = write(image, c)
		case c.off < limit:
			c.data = c.data[:limit-c.off]
			image = write(image, c)
		}
	}
	return image
}

// State returns what a power cut now would leave.  The seed chooses among the
// possibilities in Torn mode; the same seed after the same calls gives the
// same state.  The state does not share memory with the disk unless the mode
// is Dropped or Kept: then it is valid until the next Apply, and must not be
// modified.
func (d *Disk) State(mode Mode, seed uint64) State {
	state := State{}
	if mode == Kept {
		for path, ino := range d.names {
			if !d.Ignored(path) {
				state[path] = ino.live
			}
		}
		return state
	}

	rng := rand.New(rand.NewPCG(seed, uint64(d.applied)))
	names, metaCut := d.durable, d.metaDone
	if mode == Torn {
		// The ends of the range are the likeliest culprits: often those.
		switch open := d.metaSeq - d.metaDone; rng.IntN(3) {
		case 0:
			metaCut += open
		case 1:
			metaCut += rng.IntN(open + 1)
		}
		names = maps.Clone(names)
		for _, m := range d.pending {
			if m.seq <= metaCut {
				m.apply(names)
			}
		}
	}
	if mode == Lying {
		return d.lie(rng)
	}
	for _, path := range slices.Sorted(maps.Keys(names)) { // sorted for the seed's sake
		if d.Ignored(path) {
			continue
		}
		ino := names[path]
		if mode == Dropped {
			state[path] = ino.dropped(metaCut)
		} else {
			state[path] = ino.torn(metaCut, rng)
		}
	}
	return state
}

func (ino *inode) dropped(metaCut int) []byte {
	if !slices.ContainsFunc(ino.unsynced, func(c change) bool { return c.meta != 0 && c.meta <= metaCut }) {
		return ino.synced
	}
	return ino.replay(bytes.Clone(ino.synced), metaCut, func(image []byte, _ change) []byte { return image })
}

func (ino *inode) torn(metaCut int, rng *rand.Rand) []byte {
	// Few, half or nearly all of the sectors, so that the rare mishap of a
	// single one missing comes up too.
	odds := [...]float64{0.05, 0.5, 0.95}[rng.IntN(3)]
	return ino.replay(bytes.Clone(ino.synced), metaCut, func(image []byte, c change) []byte {
		end := c.off + int64(len(c.data))
		for off := c.off; off < end; {
			next := min(end, (off/SectorSize+1)*SectorSize)
			if rng.Float64() < odds {
				image = writeAt(image, off, c.data[off-c.off:next-c.off])
			}
			off = next
		}
		// The size may have made it where the data has not.
		if int64(len(image)) < end && rng.IntN(2) == 0 {
			image = resize(image, end)
		}
		return image
	})
}

// writeAt writes data into image, extending it as necessary.
func writeAt(image []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(image)) {
		image = resize(image, end)
	}
	copy(image[off:], data)
	return image
}

// resize cuts or extends image with zeros.  Its capacity grows by doubling, so
// that a run of appending writes is cheap.
func resize(image []byte, size int64) []byte {
	if size <= int64(len(image)) {
		return image[:size]
	}
	old := len(image)
	image = slices.Grow(image, int(size)-old)[:size]
	clear(image[old:])
	return image
}

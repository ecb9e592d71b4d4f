package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// WitnessName is the name of the witness, beside the database.
const WitnessName = "gardien.witness"

// witness is what is known outside the database of its newest durable commit (R1). A database
// that knows less was rolled back: its write-ahead log was deleted or cut, the card lied about a
// flush, or an older copy was put in its place.
type witness struct {
	Epoch int    `json:"epoch"` // of the database: it rises with each that takes another's place
	Log   string `json:"log"`   // id of the log that goes up to issuers
	N     int64  `json:"n"`     // durable commits so far
	Seq   int64  `json:"seq"`   // the newest event, and its hash
	Hash  string `json:"hash"`
}

// witnessSize is that of a sector, which a disk writes whole or not at all.
const witnessSize = 512

func (w witness) encode() []byte {
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // numbers and plain texts
	}
	b = fmt.Appendf(b, " %s", witnessSum(b))
	return append(append(b, bytes.Repeat([]byte(" "), witnessSize-1-len(b))...), '\n')
}

func witnessSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// readWitness reads one. A file that is not there, or is no witness, says nothing: one that was
// never synced may be so after a power cut.
func readWitness(path string) (w witness, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w, false, nil
	}
	if err != nil {
		return w, false, err
	}
	defer f.Close()
	b := make([]byte, witnessSize)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return w, false, err
	}
	text, sum, _ := bytes.Cut(bytes.TrimRight(b[:n], " \n"), []byte("} "))
	text = append(text, '}')
	if string(sum) != witnessSum(text) || json.Unmarshal(text, &w) != nil {
		return witness{}, false, nil
	}
	return w, true, nil
}

// bearer writes the witness, after a commit and beside it: nobody at a door waits for it, and it
// is not synced. The kernel writes it within half a minute; until then it speaks of an earlier
// commit, so that what a lying card loses with it goes unseen here: the cloud may know.
type bearer struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	newest func() witness // of the newest durable commit; nil: it is written
	wake   chan struct{}
	done   chan struct{}
}

func newBearer(path string, log *slog.Logger) *bearer {
	b := &bearer{path: path, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go b.run()
	return b
}

// note takes the newest durable commit. It does not wait.
func (b *bearer) note(w func() witness) {
	b.mu.Lock()
	b.newest = w
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// close writes what is left.
func (b *bearer) close() {
	close(b.wake)
	<-b.done
}

func (b *bearer) run() {
	defer close(b.done)
	var f *os.File
	wrong := false
	for range b.wake {
		b.mu.Lock()
		newest := b.newest
		b.newest = nil
		b.mu.Unlock()
		if newest == nil {
			continue
		}
		err := b.write(&f, newest().encode())
		if err != nil && !wrong {
			b.log.Warn("store: the witness is not written, so that a rollback of the database to this state could go unnoticed", "err", err)
		}
		wrong = err != nil
	}
	if f != nil {
		f.Close()
	}
}

func (b *bearer) write(f **os.File, text []byte) (err error) {
	if *f == nil {
		if *f, err = os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	before := size(b.path)
	if _, err = (*f).WriteAt(text, 0); err == nil {
		witnessed(b.path, before, text)
	}
	return err
}

// witnessed is for the test's record of I/O, as rewritten is.
var witnessed = func(path string, size int64, b []byte) {}

func witnessPath(db string) string { return filepath.Join(filepath.Dir(db), WitnessName) }

// witnessOf tells of the newest durable commit. What it gives is to be made when there is time.
func witnessOf(h head, small map[string][]byte) func() witness {
	epoch, log := small["epoch"], small["log"]
	return func() witness {
		w := witness{N: h.n, Seq: h.seq, Hash: hex.EncodeToString(h.hash[:])}
		for b, v := range map[*[]byte]any{&epoch: &w.Epoch, &log: &w.Log} {
			if *b != nil {
				json.Unmarshal(*b, v) // what this store has written
			}
		}
		return w
	}
}

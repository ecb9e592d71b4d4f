package carrier

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// EventKey tells one event from another, whatever number the cloud gave it.
type EventKey [12]byte

// Key is of the gateway, its log, and what happened.
func (d *Delivered) Key() EventKey {
	sum := sha256.Sum256(append([]byte(string(d.Gateway)+" "+d.Log+" "), d.Event...))
	return EventKey(sum[:12])
}

// mostSeen is how many events are remembered: a cloud that was restored sends again what
// came after its backup was made. At a thousand a day that is a year; the memory is some 20 MB.
const mostSeen = 400_000

// Seen is watch.seen: the keys of the latest events, one after the other.
type Seen struct {
	file *os.File
	keys map[EventKey]struct{}
}

// OpenSeen reads it.
func (f *Folder) OpenSeen() (*Seen, error) {
	path := filepath.Join(f.Dir, "watch.seen")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := len(b) / len(EventKey{}) * len(EventKey{})
	kept := b[max(0, whole-mostSeen*len(EventKey{})):whole]
	if len(kept) < len(b) { // too many, or torn by a crash
		if err := replaceFile(path, kept, 0o600); err != nil {
			return nil, err
		}
	}
	s := &Seen{keys: make(map[EventKey]struct{}, len(kept)/len(EventKey{}))}
	for ; len(kept) > 0; kept = kept[len(EventKey{}):] {
		s.keys[EventKey(kept)] = struct{}{}
	}
	if s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

// Has reports an event that was told already.
func (s *Seen) Has(k EventKey) bool { _, ok := s.keys[k]; return ok }

// Add notes one.
func (s *Seen) Add(k EventKey) error {
	s.keys[k] = struct{}{}
	if _, err := s.file.Write(k[:]); err != nil {
		return fmt.Errorf("watch.seen: %w", err)
	}
	return nil
}

// Forget takes none for told: whoever asks for them from a place on gets them once more.
func (s *Seen) Forget() { clear(s.keys) }

// Close closes the file.
func (s *Seen) Close() error { return s.file.Close() }

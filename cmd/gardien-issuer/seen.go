package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// eventKey tells one event from another, whatever number the cloud gave it.
type eventKey [12]byte

// key is of the gateway, its log, and what happened.
func (d *delivered) key() eventKey {
	sum := sha256.Sum256(append([]byte(string(d.Gateway)+" "+d.Log+" "), d.Event...))
	return eventKey(sum[:12])
}

// mostSeen is how many events are remembered: a cloud that was restored sends again what
// came after its backup was made. At a thousand a day that is a year; the memory is some 20 MB.
const mostSeen = 400_000

// seen is watch.seen: the keys of the latest events, one after the other.
type seen struct {
	file *os.File
	keys map[eventKey]struct{}
}

func (f *folder) openSeen() (*seen, error) {
	path := filepath.Join(f.dir, "watch.seen")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := len(b) / len(eventKey{}) * len(eventKey{})
	kept := b[max(0, whole-mostSeen*len(eventKey{})):whole]
	if len(kept) < len(b) { // too many, or torn by a crash
		if err := replaceFile(path, kept, 0o600); err != nil {
			return nil, err
		}
	}
	s := &seen{keys: make(map[eventKey]struct{}, len(kept)/len(eventKey{}))}
	for ; len(kept) > 0; kept = kept[len(eventKey{}):] {
		s.keys[eventKey(kept)] = struct{}{}
	}
	if s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *seen) has(k eventKey) bool { _, ok := s.keys[k]; return ok }

func (s *seen) add(k eventKey) error {
	s.keys[k] = struct{}{}
	if _, err := s.file.Write(k[:]); err != nil {
		return fmt.Errorf("watch.seen: %w", err)
	}
	return nil
}

func (s *seen) Close() error { return s.file.Close() }

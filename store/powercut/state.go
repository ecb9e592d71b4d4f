package powercut

import (
	"io/fs"
	"os"
	"path/filepath"
)

// State is the content of a folder, by relative path.
type State map[string][]byte

// WriteTo makes dir, which is created if need be, contain this state and
// nothing else.  Whatever is in dir is removed, so it should be a folder made
// for the purpose, best on a tmpfs.
func (s State) WriteTo(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for path, data := range s {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ReadState returns the content of the folder dir.
func ReadState(dir string) (State, error) {
	s := State{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		s[rel], err = os.ReadFile(path)
		return err
	})
	return s, err
}

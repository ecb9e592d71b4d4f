package tokens_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gardien/gateway/tokens"
)

// Keys that others may have read are refused, as the database is.
func TestKeysAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if _, err := tokens.LoadIdentity(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"signing.jwk", "opening.jwk", "device.key"} {
		for _, mode := range []os.FileMode{0o644, 0o640, 0o604} {
			path := filepath.Join(dir, name)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := tokens.LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("%s with mode %o: %v", name, mode, err)
			}
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := tokens.LoadIdentity(dir); err != nil {
		t.Errorf("put right: %v", err)
	}
}

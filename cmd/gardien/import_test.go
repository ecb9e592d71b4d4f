package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"gardien/gateway/api"
)

// TestD5_ImportOnADiskThatTakesNoWrites: whoever hands in a revocation learns that a power cut would undo it.
func TestD5_ImportOnADiskThatTakesNoWrites(t *testing.T) {
	log, stop, fake := slog.New(slog.DiscardHandler), make(chan struct{}), &api.Fake{}
	path := filepath.Join(t.TempDir(), "api.sock")
	socket := api.NewSocket(path, nil, api.New(fake.Backend(), api.FakeSim{}, log, stop), log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- socket.Run(ctx) }()
	defer func() { close(stop); cancel(); <-ended }()
	select {
	case <-socket.Ready():
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	for _, durable := range []bool{true, false} {
		if !durable {
			fake.Lax()
		}
		var out, said bytes.Buffer
		code := run([]string{"grant", "import", "-", "--socket", path}, strings.NewReader("good\n"), &out, &said)
		if code != 0 || out.String() != "accepted home/g1\n" || strings.Contains(said.String(), "a power cut would undo it") == durable {
			t.Errorf("durable %v: exit %d, %q, %q", durable, code, out.String(), said.String())
		}
	}
}

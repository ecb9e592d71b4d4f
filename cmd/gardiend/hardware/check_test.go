package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/configs"
	"gardien/gateway"
)

// flaky is a reader that is away for some tries.
type flaky struct{ fails int }

func (f *flaky) String() string { return "a flaky reader" }

func (f *flaky) Read(ctx context.Context, _ func(context.Context, gateway.Credential)) error {
	if f.fails > 0 {
		f.fails--
		return errors.New("no such device")
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(time.Hour):
		f.fails = 3
		return errors.New("pulled out")
	}
}

// A reader that goes away is told once, and once that it is back; it is tried each second.
func TestReaderComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []gateway.EventType
		note := func(events ...gateway.Event) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if e.Reader != "pad" || e.Door != "front" || e.Device != "a flaky reader" {
					t.Errorf("%+v", e)
				}
				got = append(got, e.Type)
			}
		}
		r := newReading(openReader{"pad", "front", &flaky{fails: 5}}, nil, note, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		<-r.Ready()
		sees := func(after time.Duration, want ...gateway.EventType) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		sees(4*time.Second, gateway.DeviceOffline)
		sees(5*time.Second, gateway.DeviceOffline, gateway.DeviceOnline)
		sees(time.Hour+10*time.Second, gateway.DeviceOffline, gateway.DeviceOnline, gateway.DeviceOffline, gateway.DeviceOnline)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// F3: whoever installs is told what keeps the strikes secured before gardiend runs, for each
// polarity, and nothing is told of doors without lines.
func TestBootNotes(t *testing.T) {
	for file, want := range map[string][]string{
		"recipes/strike.yaml": {"gpio=17=op,dl", "dtparam=strict_gpiod"},
		"minimal.yaml":        nil,
	} {
		cfg, err := configs.Load(filepath.Join("..", "..", "..", "configs", file), LoadOpts)
		if err != nil {
			t.Fatal(err)
		}
		problems, notes := CheckHardware(cfg)
		if len(problems) > 0 {
			t.Skip("this machine has GPIO, and not what the recipe wants: ", problems)
		}
		text := strings.Join(notes, "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in:\n%s", file, w, text)
			}
		}
		if want == nil && text != "" {
			t.Errorf("%s: %s", file, text)
		}
		for _, d := range cfg.Doors {
			if d.Strike.Driver == "gpio" {
				d.Strike.Active = "low"
				_, notes := CheckHardware(cfg)
				if !strings.Contains(strings.Join(notes, "\n"), "gpio=17=op,dh") {
					t.Errorf("active low: %q", notes)
				}
			}
		}
	}
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gardien/drivers/gpio"
	"gardien/drivers/gpio/gpiosim"
	"gardien/drivers/wiegand"
	"gardien/gateway"
)

// marks is the kernel's trace: what we mark, and each level that a line is set to, on one clock.
type marks struct {
	dir    string
	marker *os.File
}

func newMarks(b *testing.B) *marks {
	m := &marks{dir: "/sys/kernel/tracing/instances/bench"}
	os.Mkdir(m.dir, 0o700)
	b.Cleanup(func() { m.marker.Close(); os.Remove(m.dir) })
	os.WriteFile(m.dir+"/trace_clock", []byte("mono"), 0)
	if err := os.WriteFile(m.dir+"/events/gpio/enable", []byte("1"), 0); err != nil {
		gpiosim.Skip(b, "this kernel has no gpio tracepoints")
	}
	var err error
	if m.marker, err = os.OpenFile(m.dir+"/trace_marker", os.O_WRONLY, 0); err != nil {
		b.Fatal(err)
	}
	return m
}

func (m *marks) mark(s string) { m.marker.WriteString(s) }

// spans gives the time from each line with one text to the next line with another.
func (m *marks) spans(b *testing.B, from, to string) (list []time.Duration) {
	f, err := os.Open(m.dir + "/trace")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var begun time.Duration
	for s := bufio.NewScanner(f); s.Scan(); {
		// "  task-123 [000] d.... 12.345678: tracing_mark_write: text"
		head, text, ok := strings.Cut(s.Text(), ": ")
		fields := strings.Fields(head)
		if !ok || len(fields) == 0 {
			continue
		}
		at, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			continue
		}
		now := time.Duration(at * float64(time.Second))
		switch {
		case strings.Contains(text, from):
			begun = now
		case strings.Contains(text, to) && begun > 0:
			list, begun = append(list, now-begun), 0
		}
	}
	return list
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}

// BenchmarkGPIOEdge: the last bit of a PIN's '#' on the wire → decision → the strike's line,
// less the 25 ms that end a Wiegand frame, against what it is made of, each measured bare in
// the same run: an edge that wakes a program, one durable commit of three pages, one ioctl.
func BenchmarkGPIOEdge(b *testing.B) {
	w := newWired(b, "")
	w.start()
	pin := w.pin(0)
	m := newMarks(b)
	const set = " set 1" // of no other line
	const rounds = 15
	for range rounds {
		for try := 1; !w.typed(m, pin); try++ {
			if try == typings {
				b.Fatalf("typed %d times, and the strike is not released", typings)
			}
			b.Logf("a key of a PIN was missed (%d)", try)
		}
		w.chip.Set(contactLine, true)
		w.released(false, 3*time.Second)
		w.chip.Set(contactLine, false)
		time.Sleep(100 * time.Millisecond)
	}
	whole := median(m.spans(b, "last bit", set)) - wiegand.FrameEnd

	// Bare: an edge.
	chip := gpiosim.New(b, "IN", "OUT")
	pins := make([]gateway.Line, 2)
	for i := range pins {
		pins[i], _ = gateway.ParseLine(chip.Pin(i))
	}
	in, out := gpio.NewLine(gpio.LineOpts{Consumer: "bench"}, pins[0]), gpio.NewLine(gpio.LineOpts{Consumer: "bench"}, pins[1])
	defer in.Close()
	defer out.Close()
	if err := in.OnFalling(gpio.PullOf("none")); err != nil {
		b.Fatal(err)
	}
	woken := make(chan struct{})
	go func() {
		for {
			if _, err := in.NextEdge(time.Time{}); err != nil {
				return
			}
			m.mark("woken")
			woken <- struct{}{}
		}
	}()
	for range 50 {
		chip.Set(0, true)
		time.Sleep(2 * time.Millisecond)
		m.mark("bare edge")
		chip.Set(0, false)
		<-woken
	}
	edge := median(m.spans(b, "bare edge", "woken"))

	// Bare: a durable commit, three pages of 4 KiB with their headers, appended.
	f, err := os.Create(filepath.Join(b.TempDir(), "wal"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 3*(4096+24))
	var commits, ioctls []time.Duration
	for range 50 {
		begun := time.Now()
		f.Write(page)
		f.Sync()
		commits = append(commits, time.Since(begun))
	}
	for i := range 200 {
		begun := time.Now()
		out.Out(gpio.LevelOf(map[bool]string{true: "high", false: "low"}[i%2 == 0]))
		ioctls = append(ioctls, time.Since(begun))
	}
	commit, ioctl := median(commits), median(ioctls)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	b.ReportMetric(us(whole), "p50-µs")
	b.ReportMetric(us(edge), "edge-µs")
	b.ReportMetric(us(commit), "commit-µs")
	b.ReportMetric(us(ioctl), "ioctl-µs")
	b.ReportMetric(float64(whole)/float64(edge+commit+ioctl), "ratio(≤1.5)")
	b.ReportMetric(0, "ns/op")
	w.stop()
}

// typed types a PIN, marks its last bit, and reports whether the strike is released for it.
func (w *wired) typed(m *marks, pin string) bool {
	w.keys("*" + pin)
	for bit := 3; bit >= 0; bit-- { // '#' is 11
		line := d0Line + 11>>bit&1
		if bit == 0 {
			m.mark("last bit")
		}
		w.chip.Set(line, false)
		w.chip.Set(line, true)
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(150 * time.Millisecond) // looking on would take the one processor's time
	for end := time.Now().Add(2 * time.Second); !w.chip.Get(strikeLine); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// BenchmarkGPIOIdle: how often threads of a daemon with eight lines wake when nothing happens.
// It counts switches of threads, some ten for each time that the process wakes: an emulated
// processor is slow to come to rest. A watchdog's sign of life comes on top, every 5 s.
func BenchmarkGPIOIdle(b *testing.B) {
	chip := gpiosim.New(b, "BELL", "GREEN", "RED")
	w := newWired(b, fmt.Sprintf(`    bell: {driver: gpio, pin: "%s", active: high, pull: none}
    indicator: {driver: gpio, green: "%s", red: "%s"}`, chip.Pin(0), chip.Pin(1), chip.Pin(2)))
	w.watchdogIn = ""
	w.start()
	time.Sleep(45 * time.Second) // until Go has given back what the start needed
	const watched = 30 * time.Second
	before := switches(b, w.cmd.Process.Pid)
	time.Sleep(watched)
	b.ReportMetric(float64(switches(b, w.cmd.Process.Pid)-before)/watched.Seconds(), "wake-ups/s(≤2)")
	b.ReportMetric(0, "ns/op")
	w.stop()
}

// switches counts how often a process's threads have given up the processor by themselves.
func switches(b *testing.B, pid int) (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			b.Fatal(err)
		}
		n += v
	}
	return n
}

package wiegand

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// fake is two lines: a bit is an edge at an instant of its own clock.
type fake struct {
	mu     sync.Mutex
	edges  []Bit
	seq    uint32
	more   chan struct{}
	halted chan struct{}
	err    error
}

func newFake() *fake { return &fake{more: make(chan struct{}, 1), halted: make(chan struct{}, 1)} }

func (f *fake) Open() error    { return f.err }
func (f *fake) Close() error   { return nil }
func (f *fake) String() string { return "GPIO5 GPIO6" }
func (f *fake) Halt() error    { f.halted <- struct{}{}; return nil }

func (f *fake) Next(deadline time.Time) (line int, at time.Duration, seq uint32, err error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		f.mu.Lock()
		if len(f.edges) > 0 {
			e := f.edges[0]
			f.edges = f.edges[1:]
			f.mu.Unlock()
			if e.One {
				line = 1
			}
			return line, e.At, e.Seq, nil
		}
		f.mu.Unlock()
		select {
		case <-f.more:
		case <-timer.C:
			return 0, 0, 0, os.ErrDeadlineExceeded
		case <-f.halted:
			return 0, 0, 0, os.ErrDeadlineExceeded
		}
	}
}

// send sends a frame, two milliseconds a bit.
func (f *fake) send(fr Frame) {
	time.Sleep(2 * FrameEnd)
	for i := fr.N - 1; i >= 0; i-- {
		f.mu.Lock()
		f.seq++
		f.edges = append(f.edges, Bit{fr.Bits>>i&1 == 1, time.Since(epoch), f.seq})
		f.mu.Unlock()
		select {
		case f.more <- struct{}{}:
		default:
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Hour)

func key(k byte) Frame {
	v := uint64(strings.IndexByte("0123456789*#", k))
	return Frame{v, 4}
}

// cardFrame writes a card with its parity.
func cardFrame(n int, facility, number uint64) Frame {
	width := map[int]int{26: 16, 34: 16, 37: 19}[n]
	half := map[int]int{26: 13, 34: 17, 37: 19}[n]
	v := (facility<<width | number) << 1
	if bits.OnesCount64(v>>(n-half))%2 == 1 {
		v |= 1 << (n - 1)
	}
	if bits.OnesCount64(v&(1<<half-1))%2 == 0 {
		v |= 1
	}
	return Frame{v, n}
}

func TestParse(t *testing.T) {
	for i, k := range "0123456789*#" {
		for _, f := range []Frame{{uint64(i), 4}, {uint64(^i&0xf)<<4 | uint64(i), 8}} {
			if got, _, err := Parse(f); err != nil || got != byte(k) {
				t.Errorf("%+v: %q, %v", f, got, err)
			}
		}
	}
	for f, want := range map[Frame]error{
		{12, 4}: ErrKey, {15, 4}: ErrKey, {0x3c, 8}: ErrKey, {0x11, 8}: ErrParity, {0xff, 8}: ErrParity,
		{0, 0}: ErrLength, {1, 1}: ErrLength, {0, 25}: ErrLength, {0, 27}: ErrLength, {0, 32}: ErrLength, {0, 38}: ErrLength,
		{0, 26}: ErrParity, {1 << 25, 26}: ErrParity, {0, 34}: ErrParity, {0, 37}: ErrParity,
	} {
		if _, _, err := Parse(f); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", f, err, want)
		}
	}
	// A known frame: facility 123, number 4567 on 26 bits is 1 01111011 0001000111010111 1? The
	// parities by hand: the first 12 data bits 0111 1011 0001 have seven ones, so even parity is
	// 1; the last 12, 0001 1101 0111, have seven, so odd parity is 0.
	if _, c, err := Parse(Frame{0b1_01111011_0001000111010111_0, 26}); err != nil || c.Reveal() != "26:123:4567" {
		t.Errorf("%s, %v", c.Reveal(), err)
	}
	if s := fmt.Sprintf("%v %+v %s", gateway.NewCard(26, 123, 4567), gateway.CardCredential{Card: gateway.NewCard(26, 123, 4567)}, gateway.NewCard(26, 1, 2)); strings.Contains(s, "4567") {
		t.Errorf("a card prints itself: %s", s)
	}
}

// Every card comes through, and no card with one wrong bit does (P8).
func TestParity(t *testing.T) {
	for range 2000 {
		for _, n := range []int{26, 34, 37} {
			width := map[int]uint64{26: 16, 34: 16, 37: 19}[n]
			facility, number := rand.Uint64N(1<<(uint64(n)-2-width)), rand.Uint64N(1<<width)
			f := cardFrame(n, facility, number)
			if _, c, err := Parse(f); err != nil || c.Reveal() != fmt.Sprintf("%d:%d:%d", n, facility, number) {
				t.Fatalf("%+v: %v", f, err)
			}
			// Bit 18 of 37 stands under both parities; a flip of any bit is seen.
			if _, c, err := Parse(Frame{f.Bits ^ 1<<rand.IntN(n), n}); err == nil {
				t.Fatalf("%+v with a wrong bit is %v", f, c.Reveal())
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(uint64(5), 4)
	f.Add(cardFrame(26, 1, 2).Bits, 26)
	f.Add(cardFrame(37, 1, 2).Bits, 37)
	f.Fuzz(func(t *testing.T, v uint64, n int) {
		if n < 0 || n > 64 {
			return
		}
		key, card, err := Parse(Frame{v & (1<<n - 1), n})
		if err != nil {
			return
		}
		if key != 0 {
			if !strings.ContainsRune("0123456789*#", rune(key)) {
				t.Errorf("key %q", key)
			}
			return
		}
		var m int
		var facility, number uint64
		if _, err := fmt.Sscanf(card.Reveal(), "%d:%d:%d", &m, &facility, &number); err != nil || cardFrame(m, facility, number) != (Frame{v & (1<<n - 1), n}) {
			t.Errorf("%x of %d bits is %s", v, n, card.Reveal())
		}
	})
}

// P8: gaps, frame ends, noise and losses.
func TestDecoder(t *testing.T) {
	const us = time.Microsecond
	type bit struct {
		one  bool
		gap  time.Duration
		lost int
	}
	four := func(gap time.Duration) []bit {
		return []bit{{false, time.Second, 0}, {true, gap, 0}, {false, gap, 0}, {true, gap, 0}}
	}
	for name, c := range map[string]struct {
		bits []bit
		want string
	}{
		"a key":              {four(2000 * us), "4:5"},
		"as quick as may be": {four(MinGap), "4:5"},
		"as slow as may be":  {four(MaxGap), "4:5"},
		"too quick":          {four(MinGap - latency - us), "two bits within a moment"},
		"too slow":           {four(MaxGap + latency + us), "a bit too late"},
		"within the jitter":  {four(MaxGap + latency), "4:5"},
		"two frames":         {append(four(2000*us), four(2000*us)...), "4:5 4:5"},
		"two frames, close":  {append(four(2000*us), bit{true, FrameEnd, 0}, bit{true, 2000 * us, 0}), "4:5 2:3"},
		"both lines at once": {append(four(2000*us), bit{true, 10 * us, 0}), "two bits within a moment"},
		"a loss":             {append(four(2000*us), bit{true, 2000 * us, 1}), "edges were lost"},
		"a loss between":     {append(four(2000*us), append([]bit{{false, time.Second, 1}}, four(2000 * us)[1:]...)...), "4:5 edges were lost"},
		"a key after a loss": {append(append(four(2000*us), bit{true, 2000 * us, 1}), four(2000*us)...), "edges were lost 4:5"},
		"noise for ever":     {slicesRepeat(bit{true, 2000 * us, 0}, 200), "too many bits"},
		"noise, then a key":  {append(slicesRepeat(bit{true, 2000 * us, 0}, 200), four(2000*us)...), "too many bits 4:5"},
		"37 bits":            {slicesRepeat(bit{false, 2000 * us, 0}, 37), "37:0"},
		"38 bits":            {slicesRepeat(bit{false, 2000 * us, 0}, 38), "too many bits"},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var got []string
			say := func(f Frame, why string, ok bool) {
				switch {
				case ok && why != "":
					got = append(got, why)
				case ok:
					got = append(got, fmt.Sprintf("%d:%d", f.N, f.Bits))
				}
			}
			at, seq := time.Duration(0), ^uint32(2) // the numbers wrap
			for _, b := range c.bits {
				at, seq = at+b.gap, seq+1+uint32(b.lost)
				say(d.Bit(Bit{b.one, at, seq}))
			}
			say(d.End())
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
			if _, _, ok := d.End(); ok || d.Running() {
				t.Error("a frame after the end")
			}
		})
	}
}

// Each line has a thread of its own in the kernel: bits that come out of order are put into
// it, and are no loss.
func TestDecoderOrder(t *testing.T) {
	for range 2000 {
		var d Decoder
		want := cardFrame(26, rand.Uint64N(256), rand.Uint64N(1<<16))
		var bits []Bit
		for i := range 26 {
			bits = append(bits, Bit{want.Bits>>(25-i)&1 == 1, time.Hour + time.Duration(i)*time.Millisecond, uint32(i + 7)})
		}
		for i := range 25 {
			if rand.IntN(3) == 0 {
				bits[i], bits[i+1] = bits[i+1], bits[i]
			}
		}
		for _, b := range bits {
			if _, _, ok := d.Bit(b); ok {
				t.Fatal("a frame in the middle")
			}
		}
		if f, why, ok := d.End(); !ok || why != "" || f != want {
			t.Fatalf("%+v, %s, want %+v", f, why, want)
		}
	}
}

func slicesRepeat[T any](v T, n int) (list []T) {
	for range n {
		list = append(list, v)
	}
	return list
}

// FuzzDecoder: whatever the edges, a frame is whole and of bits that came within the limits.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 20, 1, 20, 0, 20, 1, 20})
	f.Add([]byte{0, 250, 1, 1, 0, 3, 255, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		at, n, seq := time.Duration(0), 0, uint32(0)
		for ; len(b) >= 2; b = b[2:] {
			at += time.Duration(b[1]) * 113 * time.Microsecond
			seq += 1 + uint32(b[0]>>6)
			n++
			if fr, why, ok := d.Bit(Bit{b[0]&1 == 1, at, seq}); ok && why == "" && (fr.N > MaxBits || fr.N > n || fr.Bits>>fr.N != 0) {
				t.Fatalf("%+v", fr)
			}
		}
	})
}

func TestReader(t *testing.T) {
	drivertest.TestReader(t, drivertest.Options{}, func(t *testing.T) (gateway.Reader, func()) {
		f := newFake()
		one := make(chan struct{}, 1) // a card at a time; a mutex would not let the bubble's time pass
		return New(f, Opts{Name: "gate"}), func() { one <- struct{}{}; f.send(cardFrame(26, 1, 2)); <-one }
	})
}

// Keys become a PIN (P5), cards a credential, and all else is dropped and told.
func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got []string
		r := New(f, Opts{Name: "gate", Dropped: func(why string) { got = append(got, "dropped: "+why) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- r.Read(ctx, func(_ context.Context, c gateway.Credential) {
				switch c := c.(type) {
				case gateway.PINCredential:
					got = append(got, "pin "+c.PIN.Reveal())
				case gateway.CardCredential:
					got = append(got, "card "+c.Card.Reveal())
				}
			})
		}()
		for _, k := range "12*0421#" {
			f.send(key(byte(k)))
		}
		f.send(cardFrame(34, 7, 99))
		bad := cardFrame(26, 7, 99)
		bad.Bits ^= 1 << 9
		f.send(bad)
		f.send(Frame{3, 5})
		f.send(key('9'))
		time.Sleep(gateway.KeypadSilence)
		f.send(key('7'))
		f.send(key('#'))
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := "pin 0421, card 34:7:99, dropped: the parity is wrong, dropped: 5 bits: no frame has so many bits: want 4, 8, 26, 34 or 37, pin 7"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s\nwant %s", s, want)
		}
		f.err = errors.New("held by somebody")
		if err := r.Read(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "held by somebody") {
			t.Error(err)
		}
	})
}

package wallclock

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Replies of Debian's chronyd 4.3 (4.3-2+deb12u3), captured on loopback, to a
// request with the sequence number 0xdeadbeef.
const (
	// No source and no local reference: "Leap status: Not synchronised".
	chronyUnsync = "06020000002100050000000000000000deadbeef0000000000000000" +
		"00000000000000000000000000000000000000000000000000000003" + "000000000000000000000000" +
		"000000000000000000000000000000000000000000000000048000000480000000000000"
	// "local stratum 8": refid 127.127.1.1, leap normal, a recent time.
	chronyLocal = "06020000002100050000000000000000deadbeef0000000000000000" +
		"7f7f0101000000000000000000000000000000000000000000080000" + "000000006b0490713400ad40" +
		"000000000000000000000000000000000000000000000000000000000000000000000000"
	// Following an NTP server at 127.0.0.1: stratum 9, leap normal.
	chronySynced = "06020000002100050000000000000000deadbeef0000000000000000" +
		"7f0000017f0000010000000000000000000000000001000000090000" + "000000006b04907c04c0d260" +
		"db055f4ada97038fdcf0d576ff3aaef6f69f410d029de9b7e0e33b09dedd2112068053cb"
	// To 103 bytes (STT_BADPKTLENGTH), version 7 (STT_BADPKTVERSION), command 99 (STT_INVALID).
	chronyBadLength  = "06020000002100010013000000000000deadbeef0000000000000000"
	chronyBadVersion = "06020000002100010012000000000000deadbeef0000000000000000"
	chronyBadCommand = "06020000006300010003000000000000deadbeef0000000000000000"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseTracking(t *testing.T) {
	const seq = 0xdeadbeef
	// edit returns the synchronised reply with the bytes at off replaced.
	edit := func(off int, with string) string {
		return chronySynced[:2*off] + with + chronySynced[2*off+len(with):]
	}
	synced := tracking{RefID: 0x7f000001, RefTime: time.Date(2026, 11, 23, 19, 14, 4, 79745632, time.UTC)}
	for _, tt := range []struct {
		name, reply string
		want        tracking
		err         string // a part of it; "" for none
	}{
		{"synchronised", chronySynced, synced, ""},
		{"unsynchronised", chronyUnsync, tracking{Leap: 3}, ""},
		{"local", chronyLocal, tracking{RefID: chronyRefIDLocal, RefTime: time.Date(2026, 11, 23, 19, 13, 53, 872459584, time.UTC)}, ""},
		{"leap insert", edit(54, "0001"), tracking{RefID: synced.RefID, Leap: 1, RefTime: synced.RefTime}, ""},
		{"32-bit time", edit(56, "7fffffff"), synced, ""},
		{"after 2106", edit(56, "00000001"), tracking{RefID: synced.RefID, RefTime: synced.RefTime.Add(1 << 32 * time.Second)}, ""},
		{"bad length", chronyBadLength, tracking{}, "status 19"},
		{"bad version", chronyBadVersion, tracking{}, "status 18"},
		{"bad command", chronyBadCommand, tracking{}, "another request"},
		{"empty", "", tracking{}, "not a command reply"},
		{"short header", chronySynced[:2*27], tracking{}, "not a command reply"},
		{"header only", chronySynced[:2*28], tracking{}, "of 28 bytes"},
		{"a byte short", chronySynced[:2*103], tracking{}, "of 103 bytes"},
		{"a byte long", chronySynced + "00", tracking{}, "of 105 bytes"},
		{"version 5", edit(0, "05"), tracking{}, "protocol version 5"},
		{"a request", edit(1, "01"), tracking{}, "not a command reply"},
		{"reserved", edit(3, "01"), tracking{}, "not a command reply"},
		{"other reply", edit(6, "0006"), tracking{}, "reply 6 of 104"},
		{"other sequence", edit(16, "deadbef0"), tracking{}, "another request"},
		{"leap 4", edit(54, "0004"), tracking{}, "out of range"},
		{"negative time", edit(56, "ffffffff"), tracking{}, "out of range"},
		{"a whole second", edit(64, "3b9aca00"), tracking{}, "out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTracking(unhex(t, tt.reply), seq)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("err = %v, want %q", err, tt.err)
			}
			if got.RefID != tt.want.RefID || got.Leap != tt.want.Leap || !got.RefTime.Equal(tt.want.RefTime) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseTracking(f *testing.F) {
	for _, s := range []string{chronySynced, chronyUnsync, chronyLocal, chronyBadLength, chronyBadCommand} {
		f.Add(unhex(f, s), uint32(0xdeadbeef))
	}
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) {
		got, err := parseTracking(b, seq)
		if err != nil {
			if got != (tracking{}) {
				t.Errorf("%+v beside error %v", got, err)
			}
			return
		}
		if len(b) != chronyTrackingLen || got.Leap > 3 || got.RefTime.Before(time.Unix(0, 0)) && !got.RefTime.IsZero() {
			t.Errorf("accepted %d bytes as %+v", len(b), got)
		}
	})
}

// fakeChronyd answers each request with what reply makes of it.
func fakeChronyd(t *testing.T, reply func(req []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, r := range reply(buf[:n]) {
				conn.WriteTo(r, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestChronyTracking(t *testing.T) {
	answer := func(s string, req []byte) []byte {
		b := unhex(t, s)
		copy(b[16:20], req[8:12])
		return b
	}
	t.Run("stray first", func(t *testing.T) {
		addr := fakeChronyd(t, func(req []byte) [][]byte {
			return [][]byte{answer(chronyUnsync, []byte("????????????")), answer(chronySynced, req)}
		})
		last, ok, err := chronyTracking(t.Context(), addr)
		if err != nil || !ok || last.Unix() != 0x6b04907c {
			t.Errorf("got %v, %v, %v", last, ok, err)
		}
	})
	t.Run("unsynchronised", func(t *testing.T) {
		addr := fakeChronyd(t, func(req []byte) [][]byte { return [][]byte{answer(chronyUnsync, req)} })
		if last, ok, err := chronyTracking(t.Context(), addr); err != nil || ok || !last.IsZero() {
			t.Errorf("got %v, %v, %v", last, ok, err)
		}
	})
	t.Run("local", func(t *testing.T) {
		addr := fakeChronyd(t, func(req []byte) [][]byte { return [][]byte{answer(chronyLocal, req)} })
		if last, ok, err := chronyTracking(t.Context(), addr); !errors.Is(err, errChronyLocal) || ok || !last.IsZero() {
			t.Errorf("got %v, %v, %v", last, ok, err)
		}
	})
	t.Run("only strays", func(t *testing.T) {
		addr := fakeChronyd(t, func(req []byte) (all [][]byte) {
			for range 20 {
				all = append(all, answer(chronySynced, []byte("????????????")))
			}
			return all
		})
		if _, ok, err := chronyTracking(t.Context(), addr); !errors.Is(err, errChronyStray) || ok {
			t.Errorf("got %v, %v", ok, err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		addr := fakeChronyd(t, func([]byte) [][]byte { return nil })
		start := time.Now()
		if _, ok, err := chronyTracking(t.Context(), addr); !errors.Is(err, os.ErrDeadlineExceeded) || ok {
			t.Errorf("got %v, %v", ok, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, _, err := chronyTracking(ctx, addr); err == nil {
			t.Error("no error after cancel")
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
	t.Run("not an address", func(t *testing.T) {
		if _, _, err := chronyTracking(t.Context(), "localhost:323"); err == nil {
			t.Error("no error")
		}
	})
}

// TestChronyLive asks a real chronyd at $CHRONY_ADDR, if that is set.
func TestChronyLive(t *testing.T) {
	addr := os.Getenv("CHRONY_ADDR")
	if addr == "" {
		t.Skip("CHRONY_ADDR is not set")
	}
	start := time.Now()
	last, ok, err := chronyTracking(t.Context(), addr)
	t.Logf("uid %d: last %v (%v ago), leapOK %v, err %v, took %v", os.Getuid(),
		last.UTC(), start.Sub(last).Round(time.Millisecond), ok, err, time.Since(start))
}

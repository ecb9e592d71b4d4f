package wallclock

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Constants of chrony's command and monitoring protocol, named as in its
// candm.h (the same values in chrony 4.3 and 4.8). Every field is big-endian.
const (
	chronyProtoVersion   = 6          // PROTO_VERSION_NUMBER
	chronyPktTypeRequest = 1          // PKT_TYPE_CMD_REQUEST
	chronyPktTypeReply   = 2          // PKT_TYPE_CMD_REPLY
	chronyReqTracking    = 33         // REQ_TRACKING
	chronyRpyTracking    = 5          // RPY_TRACKING
	chronySttSuccess     = 0          // STT_SUCCESS
	chronyTVNoHighSec    = 0x7fffffff // TV_NOHIGHSEC: a 32-bit timestamp
	chronyRefIDLocal     = 0x7f7f0101 // NTP_REFID_LOCAL (ntp.h), 127.127.1.1
	chronyLeapUnsync     = 3          // LEAP_Unsynchronised (ntp.h)
	chronyHeaderLen      = 28         // offsetof(CMD_Reply, data)
	chronyTrackingLen    = 104        // offsetof(CMD_Reply, data.tracking.EOR)

	chronyTimeout      = time.Second // longest wait for chronyd
	chronyMaxDatagrams = 8           // most replies read for one request
)

// errChronyStray marks a well-formed reply to some other request.
var errChronyStray = errors.New("chrony: reply to another request")

// errChronyLocal means that chronyd serves its own unsynchronised clock (the
// "local" directive): it then reports a normal leap status and a reference
// time that is always recent, although it is following no source.
var errChronyLocal = errors.New("chrony: following no source, only its local reference")

// tracking is what this package keeps of candm.h's RPY_Tracking.
type tracking struct {
	RefID   uint32
	Leap    uint16    // 0 normal, 1 insert, 2 delete, 3 unsynchronised
	RefTime time.Time // zero while unsynchronised, even if once synchronised
}

// chronyTracking asks the chronyd at addr (an IP address and port, normally
// 127.0.0.1:323) when it last processed a measurement of its time source, and
// whether its leap status is anything but "unsynchronised". chronyd moves that
// time back by up to a random second. With an error, both results are zero.
func chronyTracking(ctx context.Context, addr string) (lastSync time.Time, leapOK bool, err error) {
	ap, err := netip.ParseAddrPort(addr) // never a name: no resolver
	if err != nil {
		return time.Time{}, false, fmt.Errorf("chrony: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, chronyTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", ap.String())
	if err != nil {
		return time.Time{}, false, fmt.Errorf("chrony: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	// CMD_Request: version, pkt_type, res1, res2, command, attempt, sequence, and
	// zeros to the length of the reply (else STT_BADPKTLENGTH: pktlength.c).
	var req [chronyTrackingLen]byte
	req[0], req[1] = chronyProtoVersion, chronyPktTypeRequest
	binary.BigEndian.PutUint16(req[4:], chronyReqTracking)
	rand.Read(req[8:12]) // the sequence number; never fails
	if _, err := conn.Write(req[:]); err != nil {
		return time.Time{}, false, fmt.Errorf("chrony: %w", err)
	}
	for range chronyMaxDatagrams {
		var buf [chronyTrackingLen + 1]byte // one more, to notice an overlong reply
		n, err := conn.Read(buf[:])
		if err != nil {
			return time.Time{}, false, fmt.Errorf("chrony: %w", err)
		}
		t, err := parseTracking(buf[:n], binary.BigEndian.Uint32(req[8:]))
		if errors.Is(err, errChronyStray) {
			continue
		}
		if err == nil && t.RefID == chronyRefIDLocal {
			t, err = tracking{}, errChronyLocal
		}
		return t.RefTime, err == nil && t.Leap != chronyLeapUnsync, err
	}
	return time.Time{}, false, errChronyStray
}

// parseTracking decodes a CMD_Reply to the REQ_TRACKING numbered seq.
func parseTracking(b []byte, seq uint32) (tracking, error) {
	be := binary.BigEndian
	switch {
	case len(b) < chronyHeaderLen || b[1] != chronyPktTypeReply || b[2] != 0 || b[3] != 0:
		return tracking{}, errors.New("chrony: not a command reply")
	case b[0] != chronyProtoVersion:
		return tracking{}, fmt.Errorf("chrony: protocol version %d, not %d", b[0], chronyProtoVersion)
	case be.Uint16(b[4:]) != chronyReqTracking || be.Uint32(b[16:]) != seq:
		return tracking{}, errChronyStray
	case be.Uint16(b[8:]) != chronySttSuccess:
		return tracking{}, fmt.Errorf("chrony: status %d", be.Uint16(b[8:])) // STT_*
	case be.Uint16(b[6:]) != chronyRpyTracking || len(b) != chronyTrackingLen:
		return tracking{}, fmt.Errorf("chrony: reply %d of %d bytes", be.Uint16(b[6:]), len(b))
	}
	t := tracking{RefID: be.Uint32(b[28:]), Leap: be.Uint16(b[54:])}
	high, low, nsec := be.Uint32(b[56:]), be.Uint32(b[60:]), be.Uint32(b[64:]) // Timespec
	if high == chronyTVNoHighSec {
		high = 0
	}
	if t.Leap > chronyLeapUnsync || high > 0xff || nsec > 999_999_999 {
		return tracking{}, fmt.Errorf("chrony: leap status %d or time %d:%d.%d out of range", t.Leap, high, low, nsec)
	}
	if high|low|nsec != 0 {
		t.RefTime = time.Unix(int64(high)<<32|int64(low), int64(nsec))
	}
	return t, nil
}

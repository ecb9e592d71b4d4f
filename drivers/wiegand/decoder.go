package wiegand

import (
	"cmp"
	"slices"
	"time"
)

// The limits of P8. Gaps are from the start of one pulse to the start of the next.
const (
	MinGap   = 200 * time.Microsecond
	MaxGap   = 20 * time.Millisecond
	FrameEnd = 25 * time.Millisecond // a frame is over when no bit has come for so long
)

// latency is how much later than another an edge's time may be taken: the jitter of an
// interrupt.
const latency = 150 * time.Microsecond

// Bit is a falling edge.
type Bit struct {
	One bool          // on DATA1
	At  time.Duration // on a clock that does not step
	Seq uint32        // the kernel's number, over both lines
}

// Decoder puts bits together into frames. It is pure: what it knows of time is what it is
// told. Bits may come out of order, for each line has a thread of its own in the kernel;
// they are put into the order of their time. The zero value is ready; it is not safe for
// concurrent use.
type Decoder struct {
	bits  []Bit
	last  time.Duration // the latest bit of the frame under way
	more  bool          // there were more bits than a frame has
	seq   uint32        // the highest number of the frames before
	begun bool          // seq is known
}

// Bit takes a bit. It gives the frame before, if this bit begins a new one; why is set where
// that frame is dropped.
func (d *Decoder) Bit(b Bit) (f Frame, why string, ok bool) {
	if d.Running() && b.At-d.last >= FrameEnd {
		f, why, ok = d.End()
	}
	if d.more = len(d.bits) > MaxBits; d.more {
		d.bits = d.bits[:MaxBits]
	}
	if len(d.bits) == 0 || b.At > d.last {
		d.last = b.At
	}
	d.bits = append(d.bits, b)
	return f, why, ok
}

// End ends the frame under way: no bit has come for FrameEnd. ok is false where there is none.
func (d *Decoder) End() (f Frame, why string, ok bool) {
	if !d.Running() {
		return f, "", false
	}
	slices.SortStableFunc(d.bits, func(a, b Bit) int { return cmp.Compare(a.At, b.At) })
	why = d.fault()
	for _, b := range d.bits {
		f.N++
		if f.Bits <<= 1; b.One {
			f.Bits |= 1
		}
		if ahead := int32(b.Seq - d.seq); !d.begun || ahead > 0 {
			d.seq, d.begun = b.Seq, true
		}
	}
	d.bits, d.more = d.bits[:0], false
	if why != "" {
		f = Frame{}
	}
	return f, why, true
}

// fault says why the bits under way are no frame.
func (d *Decoder) fault() string {
	if d.more || len(d.bits) > MaxBits {
		return "too many bits"
	}
	least, most := d.bits[0].Seq, d.bits[0].Seq
	for i, b := range d.bits {
		if int32(b.Seq-least) < 0 {
			least = b.Seq
		}
		if int32(b.Seq-most) > 0 {
			most = b.Seq
		}
		if i == 0 {
			continue
		}
		switch gap := b.At - d.bits[i-1].At; {
		case gap < MinGap-latency:
			return "two bits within a moment"
		case gap > MaxGap+latency:
			return "a bit too late"
		}
	}
	if int(most-least)+1 != len(d.bits) || d.begun && least != d.seq+1 {
		return "edges were lost"
	}
	return ""
}

// Running reports whether a frame is under way.
func (d *Decoder) Running() bool { return len(d.bits) > 0 }

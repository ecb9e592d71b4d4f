package powercut

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Kind is what a call does.
type Kind uint8

// The kinds, numbered as in shim.c.
const (
	Open     Kind = 1 + iota // Created, Truncated, Directory; Off is the size before
	Close                    //
	Write                    // Off, Data
	Truncate                 // Off is the new size
	Sync                     // fsync or fdatasync; Directory is known from the Open
	Unlink                   //
	Rename                   // Data is the new path
	Ack                      // Data is the acknowledgement's text
	Fault                    // Errno, Failed: a call that was made to fail
)

var kindNames = [...]string{"?", "open", "close", "write", "truncate", "fsync", "unlink", "rename", "ack", "fault"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// AckFile is the file, in the traced folder, whose libc write(2)s are
// recorded as acknowledgements.
const AckFile = "acks"

// Op is one recorded call, which succeeded (except a Fault).
type Op struct {
	Kind Kind
	PID  uint32
	FD   int32  // -1 where the call takes no descriptor
	Path string // relative to the traced folder, which itself is "."
	Off  int64
	Data []byte

	Created, Truncated, Directory bool // of an Open

	Failed Kind          // of a Fault: the kind of call that failed
	Errno  syscall.Errno // of a Fault
}

func (op Op) String() string {
	s := fmt.Sprintf("%v %s", op.Kind, op.Path)
	switch op.Kind {
	case Open:
		if op.Created {
			s += " (created)"
		}
	case Write:
		s += fmt.Sprintf(" %d+%d", op.Off, len(op.Data))
	case Truncate:
		s += fmt.Sprintf(" to %d", op.Off)
	case Rename, Ack:
		s += fmt.Sprintf(" %q", op.Data)
	case Fault:
		s = fmt.Sprintf("%v of %v %s", op.Errno, op.Failed, op.Path)
	}
	return s
}

// header is struct record of shim.c.
type header struct {
	Magic, PID uint32
	FD         int32
	Kind       Kind
	Flags      uint8
	PathLen    uint16
	Off        int64
	DataLen    uint64
}

const (
	magic      = 0x50574354
	headerSize = 32
	maxData    = 1 << 30

	flagCreated, flagTruncated, flagDirectory = 1, 2, 4
)

// ReadFile reads the log at path.
func ReadFile(path string) ([]Op, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// Read reads a log.  A record cut short at the end, of a process killed while
// it wrote, is ignored; anything else out of order is an error.
func Read(r io.Reader) ([]Op, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	var ops []Op
	for {
		var raw [headerSize]byte
		if _, err := io.ReadFull(br, raw[:]); err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return ops, nil
		} else if err != nil {
			return nil, err
		}
		var h header
		if _, err := binary.Decode(raw[:], binary.NativeEndian, &h); err != nil {
			return nil, err
		}
		if h.Magic != magic || h.Kind < Open || h.Kind > Fault || h.DataLen > maxData {
			return nil, fmt.Errorf("record %d is damaged", len(ops))
		}
		rest := make([]byte, int(h.PathLen)+int(h.DataLen))
		if _, err := io.ReadFull(br, rest); err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return ops, nil
		} else if err != nil {
			return nil, err
		}
		op := Op{
			Kind: h.Kind, PID: h.PID, FD: h.FD, Off: h.Off,
			Path:      string(rest[:h.PathLen]),
			Data:      rest[h.PathLen:],
			Created:   h.Flags&flagCreated != 0,
			Truncated: h.Flags&flagTruncated != 0,
			Directory: h.Flags&flagDirectory != 0,
		}
		if op.Kind == Fault {
			op.Failed, op.Errno, op.Off = Kind(h.Off>>32), syscall.Errno(h.Off&0xffffffff), 0
		}
		ops = append(ops, op)
	}
}

// AckWriter appends acknowledgements to the log of a run under way.
//
// A record is one write to a file opened with O_APPEND, as the shim's are, so
// it comes after every call that had been made when Ack was called.
type AckWriter struct{ f *os.File }

// OpenAckWriter opens the log at path, creating it if the traced program has
// not yet done so.
func OpenAckWriter(path string) (*AckWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &AckWriter{f}, nil
}

// Ack appends an acknowledgement.
func (w *AckWriter) Ack(text string) error {
	return w.append(Op{Kind: Ack, FD: -1, Path: AckFile, Data: []byte(text)})
}

// Rewrite appends what the shim cannot see because the Go runtime did it: a file
// was opened, its content from an offset written again, and synced.
func (w *AckWriter) Rewrite(path string, size, off int64, data []byte) error {
	return w.by(-2, path, Op{Kind: Open, Off: size}, Op{Kind: Write, Off: off, Data: data}, Op{Kind: Sync}, Op{Kind: Close})
}

// Written is as Rewrite, of a file that is written from its beginning, be it new, and not synced.
func (w *AckWriter) Written(path string, size int64, data []byte) error {
	return w.by(-3, path, Op{Kind: Open, Off: size}, Op{Kind: Write, Data: data}, Op{Kind: Close})
}

func (w *AckWriter) by(fd int32, path string, ops ...Op) error {
	for _, op := range ops {
		op.FD, op.Path = fd, path
		if err := w.append(op); err != nil {
			return err
		}
	}
	return nil
}

func (w *AckWriter) append(op Op) error {
	buf, err := binary.Append(nil, binary.NativeEndian, header{
		Magic: magic, PID: uint32(os.Getpid()), FD: op.FD, Kind: op.Kind, Off: op.Off,
		PathLen: uint16(len(op.Path)), DataLen: uint64(len(op.Data)),
	})
	if err != nil {
		return err
	}
	buf = append(append(buf, op.Path...), op.Data...)
	_, err = w.f.Write(buf)
	return err
}

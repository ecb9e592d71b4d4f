package powercut

import (
	"fmt"
	"time"
)

// Walk is a walk over every point of a run at which the power could be cut.
type Walk struct {
	// Disk is the folder before the run; nil: empty.  Run uses it up.
	Disk *Disk
	// Modes are the kinds of cut to try at each point.
	Modes []Mode
	// Seeds is how many different Torn states to try at each point;
	// 0 means 1.
	Seeds int
	// Try says at which points, 0 to the number of calls, to try; nil: at all.
	Try func(point int) bool
	// Dir is the folder to put each state into, best on a tmpfs.
	Dir string

	// Recover looks at the state in Dir, as the program would when it is
	// started again, and returns the result.  An error means that the
	// state is beyond recovery.  It may change what is in Dir.
	Recover func() (result any, err error)
	// Check says whether a recovered result is in keeping with the
	// acknowledgements given so far.
	Check func(cut Cut, result any, acks []string) error
}

// Cut is a moment at which the power goes, and what becomes of unsynced data.
type Cut struct {
	Point int // number of calls before the cut
	After Op  // the last of them
	Mode  Mode
	Seed  uint64
}

func (c Cut) String() string {
	return fmt.Sprintf("power cut after call %d (%v), %v, seed %d", c.Point, c.After, c.Mode, c.Seed)
}

// Failure is a cut that the program does not survive.
type Failure struct {
	Cut
	Err error
}

func (f Failure) String() string { return fmt.Sprintf("%v: %v", f.Cut, f.Err) }

// Report is the outcome of a walk.
type Report struct {
	Points    int // cuts checked, each mode and seed counted
	Recovered int // of them with a state that differed from the one before
	Failures  []Failure
	Elapsed   time.Duration
}

// Run walks over ops.  Its error is of the harness; what is wrong with the
// program is in the report.
//
// Most calls change nothing in most modes, so the state is written out and
// recovered only where it may have changed; the check against the
// acknowledgements, which does change with every one of them, is made at
// every point.
func (w Walk) Run(ops []Op) (Report, error) {
	start := time.Now()
	var (
		report Report
		acks   []string
		disk   = w.Disk
	)
	if disk == nil {
		disk = NewDisk()
	}
	type outcome struct {
		version int
		result  any
		err     error
	}
	type variant struct {
		mode Mode
		seed uint64
	}
	var variants []variant
	for _, m := range w.Modes {
		variants = append(variants, variant{m, 0})
		for s := 1; m == Torn && s < w.Seeds; s++ {
			variants = append(variants, variant{m, uint64(s)})
		}
	}
	last := map[variant]outcome{}

	for point := 0; ; point++ {
		for _, v := range variants {
			if w.Try != nil && !w.Try(point) {
				break
			}
			cut := Cut{Point: point, Mode: v.mode, Seed: v.seed}
			if point > 0 {
				cut.After = ops[point-1]
			}
			o, known := last[v]
			if !known || o.version != disk.Version(v.mode) {
				if err := disk.State(v.mode, v.seed).WriteTo(w.Dir); err != nil {
					return report, err
				}
				o = outcome{version: disk.Version(v.mode)}
				o.result, o.err = w.Recover()
				last[v] = o
				report.Recovered++
			}
			report.Points++
			err := o.err
			if err == nil {
				err = w.Check(cut, o.result, acks)
			}
			if err != nil {
				report.Failures = append(report.Failures, Failure{cut, err})
			}
		}
		if point == len(ops) {
			report.Elapsed = time.Since(start)
			return report, nil
		}
		if err := disk.Apply(ops[point]); err != nil {
			return report, err
		}
		if ops[point].Kind == Ack {
			acks = append(acks, string(ops[point].Data))
		}
	}
}

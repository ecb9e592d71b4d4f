package wallclock

import "time"

// What cannot be undone waits until time has stood so long: trusted, and without such a jump (I6).
const (
	settleFor = 24 * time.Hour
	maxJump   = 24 * time.Hour
)

// standing counts how long time has stood. Its hours add up over restarts; a box that is switched
// off for longer than a jump may be begins anew.
type standing struct {
	stood   time.Duration
	wall    time.Time     // of the latest trusted reading; zero: there was none
	since   time.Duration // since boot, of that reading; where it was of an earlier boot, unknown
	thisRun bool          // that reading was taken by this process
	without bool          // time was not trusted since
	jumped  time.Duration // the sum of what it was off since it stood at last
}

// count takes a reading.
func (s *standing) count(wall time.Time, since time.Duration, trusted bool) {
	if !trusted {
		s.without = true
		return
	}
	passed := wall.Sub(s.wall)
	switch {
	case s.wall.IsZero():
	case s.thisRun:
		s.jumped += (passed - (since - s.since)).Abs()
		if !s.without {
			s.stood = min(s.stood+max(since-s.since, 0), settleFor)
		}
	case passed.Abs() > maxJump:
		s.jumped = passed.Abs()
	}
	if s.jumped > maxJump { // at once, or by and by
		s.stood, s.jumped = 0, 0
	}
	s.wall, s.since, s.thisRun, s.without = wall, since, true, false
}

func (s *standing) settled() bool { return s.stood >= settleFor && !s.without }

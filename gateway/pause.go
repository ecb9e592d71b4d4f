package gateway

import (
	"slices"
	"time"
)

// MaxKept bounds how many grants a pause lets through.
const MaxKept = 64

// Pause keeps third parties out, and with Home the grants made at home, too (a vacation). It
// never concerns residents' paired devices. A nil *Pause keeps nobody out.
type Pause struct {
	From  time.Time `json:"from,omitzero"`  // zero: at once
	Until time.Time `json:"until,omitzero"` // zero: until a resident resumes
	Home  bool      `json:"home,omitempty"`
	Keep  []GrantID `json:"keep,omitempty"` // home's grants that open all the same
}

// Denies reports whether the pause keeps a grant out at a reading. Third parties are kept out
// as soon as it may have begun. Home's grants are kept out only when it surely has: a clock that
// nobody believes locks no household out before its vacation.
func (p *Pause) Denies(id GrantID, r Reading) bool {
	if id.Issuer != HomeIssuer {
		return p.Holds(r)
	}
	return p != nil && p.Home && !p.Passed(r) && !r.Earliest.Before(p.From) && !slices.Contains(p.Keep, id)
}

// Holds reports whether the pause keeps third parties out at a reading.
func (p *Pause) Holds(r Reading) bool {
	return p != nil && !p.Passed(r) && !r.Latest.Before(p.From)
}

// Passed reports whether the pause is surely over.
func (p *Pause) Passed(r Reading) bool {
	return p != nil && !p.Until.IsZero() && !r.Earliest.Before(p.Until)
}

// Equal reports whether both pauses are the same, or both none.
func (p *Pause) Equal(o *Pause) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.From.Equal(o.From) && p.Until.Equal(o.Until) && p.Home == o.Home && slices.Equal(p.Keep, o.Keep)
}

package gateway

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Visit is a stretch of time in which a grant lets somebody in at a door, as far as period and
// schedule say. Both bounds are whole seconds.
type Visit struct {
	Grant GrantID
	Door  DoorID
	Period
	Conflicts []Conflict
}

// Conflict is what a resident may want to settle about a visit.
type Conflict struct {
	Key   ConflictKey
	Grant GrantID // the other one, of an overlap
}

// ConflictKey says which.
type ConflictKey string

const (
	ConflictOverlap      ConflictKey = "overlap"       // another grant opens the same door meanwhile
	ConflictPaused       ConflictKey = "paused"        // a pause or a vacation keeps it out for some of the time, or all of it
	ConflictBeyondPolicy ConflictKey = "beyond_policy" // the resident's policy does, whatever its issuer says
)

// VisitPlace is a visit's place in the order of visits: by their begin, then door, then grant. The
// zero one is before all.
type VisitPlace struct {
	From  time.Time
	Door  DoorID
	Grant GrantID
}

// Place is where the visit stands.
func (v *Visit) Place() VisitPlace { return VisitPlace{v.NotBefore, v.Door, v.Grant} }

// Compare is -1, 0 or +1 as p is before o, the same, or after it.
func (p VisitPlace) Compare(o VisitPlace) int {
	return cmp.Or(p.From.Compare(o.From), cmp.Compare(p.Door, o.Door), cmp.Compare(p.Grant.Issuer, o.Grant.Issuer), cmp.Compare(p.Grant.JTI, o.Grant.JTI))
}

// MarshalText gives "2026-12-01T08:00:00Z,front,home/7dJ0c2Qy"; nothing of the zero one.
func (p VisitPlace) MarshalText() ([]byte, error) {
	if p == (VisitPlace{}) {
		return nil, nil
	}
	return fmt.Appendf(nil, "%s,%s,%s", p.From.UTC().Format(time.RFC3339), p.Door, p.Grant), nil
}

// UnmarshalText reads what MarshalText gives.
func (p *VisitPlace) UnmarshalText(b []byte) error {
	*p = VisitPlace{}
	if len(b) == 0 {
		return nil
	}
	parts := strings.Split(string(b), ",")
	bad := fmt.Errorf("place %q: want what an answer before gave as next", b)
	if len(parts) != 3 || !DoorID(parts[1]).Valid() {
		return bad
	}
	from, err := time.Parse(time.RFC3339, parts[0])
	if err != nil {
		return bad
	}
	id, err := ParseGrantID(parts[2])
	if err != nil {
		return bad
	}
	*p = VisitPlace{from.UTC(), DoorID(parts[1]), id}
	return nil
}

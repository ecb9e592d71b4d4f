package access

import (
	"testing"
	"time"

	"gardien/gateway"
)

// lineTx is what is remembered of issuers, that knows grants for manifests.
type lineTx struct {
	Issuers
	grants []lineGrant
}

type lineGrant struct {
	jti     string
	ver     int64
	issued  time.Time
	expires time.Time
}

func (l lineTx) ActiveLines(_ gateway.IssuerID, end, issued time.Time) (list []gateway.ManifestLine) {
	for _, g := range l.grants {
		if g.expires.After(end) && !g.issued.After(issued) {
			list = append(list, gateway.ManifestLine{JTI: g.jti, Ver: g.ver})
		}
	}
	return list
}

// A manifest names the grants as of its iat: those that ended before, or were issued after,
// are not its business.
func TestManifestMatches(t *testing.T) {
	at := time.Unix(1790000000, 0)
	grants := []lineGrant{{"a", 1, at.Add(-time.Hour), at.Add(time.Hour)}, {"b", 3, at, at.Add(time.Hour)}}
	over := lineGrant{"over", 1, at.Add(-2 * time.Hour), at}
	later := lineGrant{"later", 1, at.Add(time.Minute), at.Add(time.Hour)}
	of := func(lines ...gateway.ManifestLine) gateway.Manifest {
		return gateway.Manifest{IssuedAt: at, Count: len(lines), Digest: gateway.ManifestDigest(lines)}
	}
	a, b, l := gateway.ManifestLine{JTI: "a", Ver: 1}, gateway.ManifestLine{JTI: "b", Ver: 3}, gateway.ManifestLine{JTI: "later", Ver: 1}
	for name, c := range map[string]struct {
		m    gateway.Manifest
		have []lineGrant
		want bool
	}{
		"just these":                         {of(a, b), grants, true},
		"in another order":                   {of(b, a), grants, true},
		"one that is over":                   {of(a, b), append(grants, over), true},
		"one that came later":                {of(a, b), append(grants, later), true},
		"one of the same second, named":      {of(a, b, l), append(grants, later), true},
		"one is withheld":                    {of(a, b), grants[:1], false},
		"a revocation is withheld":           {of(a), grants, false},
		"an older version":                   {of(a, gateway.ManifestLine{JTI: "b", Ver: 4}), grants, false},
		"none, rightly":                      {of(), nil, true},
		"none, and there is one":             {of(), grants[:1], false},
		"the count is right, the digest not": {gateway.Manifest{IssuedAt: at, Count: 2, Digest: of(a).Digest}, grants, false},
		"the digest is right, the count not": {gateway.Manifest{IssuedAt: at, Count: 3, Digest: of(a, b).Digest}, grants, false},
	} {
		if got := matches(Tx{Issuers: lineTx{grants: c.have}}, c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

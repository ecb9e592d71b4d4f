package store

import (
	"time"

	"gardien/gateway"
)

// visiting are the grants whose codes are no resident's own, and that something presents: of one made
// at home, a live code or its holder.
const visiting = `WHERE stripped = 0 AND exp > ? AND nbf <= ? AND status = 'active' AND block = 0 AND (uses = 0 OR used < uses OR entry IS NOT NULL)
	AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.iss = grants.iss AND p.jti = grants.jti AND coalesce(p.owner, p.duress) IS NOT NULL)
	AND (iss <> ? OR holder IS NOT NULL OR EXISTS (SELECT 1 FROM pins p WHERE p.iss = grants.iss AND p.jti = grants.jti))`

// Visiting hands to take, which must ask nothing itself, each active grant whose period meets from..to
// and that may have an entry left. Residents' own PINs and duress PINs are no visits, and neither is a
// grant made at home that nothing presents any more.
func (tx Grants) Visiting(from, to time.Time, take func(gateway.GrantRecord)) {
	tx.walk(visiting, []any{from.Unix(), to.Unix(), gateway.HomeIssuer}, take)
}

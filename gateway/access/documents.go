package access

import (
	"fmt"
	"gardien/gateway"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// documents verifies what issuers have signed, and takes it in within the caller's transaction.
type documents struct {
	tokens Tokens
	clock  Clock
	mac    keyedHash
	rules  atomic.Pointer[Rules]
}

// document is one that was verified, or the refusal to believe it.
type document struct {
	id       gateway.GrantID
	refusal  *gateway.Refusal
	grant    *gateway.Grant
	manifest *gateway.Manifest
	keys     *gateway.KeyRing
	command  *gateway.Command
}

// open verifies a text as what its kind says. The kind is the mailbox's word, the rest
// is the issuer's.
func (c *documents) open(kind gateway.ItemKind, text string) (d document) {
	switch kind {
	case gateway.ItemGrant:
		g, r := c.tokens.Grant(text)
		d.id, d.refusal, d.grant = g.ID, r, &g
	case gateway.ItemManifest:
		m, r := c.tokens.Manifest(text)
		d.id, d.refusal, d.manifest = gateway.GrantID{Issuer: m.Issuer}, r, &m
	case gateway.ItemKeys:
		k, r := c.tokens.Keys(text)
		d.id, d.refusal, d.keys = gateway.GrantID{Issuer: k.Issuer}, r, &k
	case gateway.ItemCommand:
		m, r := c.tokens.Command(text)
		d.id, d.refusal, d.command = gateway.GrantID{Issuer: m.Issuer, JTI: m.JTI}, r, &m
	default:
		d.refusal = &gateway.Refusal{Reason: gateway.UnknownCredential, Detail: fmt.Sprintf("items of kind %q are not known here", kind)}
	}
	if d.refusal != nil && kind != gateway.ItemGrant {
		d.id = gateway.GrantID{} // nothing of it is believed
	}
	return d
}

// apply takes a verified document in, within the transaction. changed says that there is
// something to keep, be it that the document was seen and refused.
func (c *documents) apply(tx Tx, d document, at gateway.Reading) (changed bool, refusal *gateway.Refusal) {
	switch {
	case d.refusal != nil:
		return false, d.refusal
	case d.grant != nil:
		t := c.take(tx, *d.grant, making{}, at)
		return t.isNew || t.noted, t.refusal
	case d.manifest != nil:
		return c.applyManifest(tx, *d.manifest, at)
	case d.keys != nil:
		return c.applyKeys(tx, *d.keys, at)
	}
	return false, byFeedOnly
}

// byFeedOnly refuses a command that comes in any other way: it might be an old one (F10).
var byFeedOnly = &gateway.Refusal{Reason: gateway.UnknownCredential, Detail: "a command comes by the feed only"}

// aheadOf reports an issuer's date that is surely still to come.
func aheadOf(iat time.Time, at gateway.Reading) bool {
	return iat.After(at.Latest.Add(gateway.SignLeeway))
}

func ahead(iat time.Time, at gateway.Reading) *gateway.Refusal {
	if aheadOf(iat, at) {
		return &gateway.Refusal{Reason: gateway.NotYetValid, Detail: "its iat is in the future: set the issuer's clock"}
	}
	return nil
}

// older refuses what a newer version has overtaken.
func older(what string, have, got int64) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.UnknownCredential, Detail: fmt.Sprintf("version %d of the %s is known already, this is %d", have, what, got)}
}

// applyManifest notes an issuer's word on its grants, and whether they are just those that
// have come. If not, something was withheld: the record says so at once, and the issuer
// goes stale if it lasts.
func (c *documents) applyManifest(tx Tx, m gateway.Manifest, at gateway.Reading) (bool, *gateway.Refusal) {
	old, had := tx.Issuers.Manifest(m.Issuer)
	switch {
	case had && m == old.Manifest:
		return false, nil
	case had && m.Version <= old.Version:
		return false, older("manifest", old.Version, m.Version)
	}
	if r := ahead(m.IssuedAt, at); r != nil {
		return false, r
	}
	c.heard(tx, m.Issuer, m.IssuedAt, at)
	state := gateway.ManifestState{Manifest: m, Matched: matches(tx, m)}
	tx.Issuers.PutManifest(state)
	if !state.Matched {
		tx.Record.AppendAt(at, gateway.Event{Type: gateway.GrantRejected, Issuer: m.Issuer, Reason: gateway.IssuerStale})
	}
	return true, nil
}

// matches holds a manifest against the grants that have come. Those that were issued after
// it are not its business.
func matches(tx Tx, m gateway.Manifest) bool {
	for _, issued := range []gateway.Manifest{{IssuedAt: gateway.MaxTime}, m} {
		lines := tx.Issuers.ActiveLines(m.Issuer, m.IssuedAt, issued.IssuedAt)
		if len(lines) == m.Count && gateway.ManifestDigest(lines) == m.Digest {
			return true
		}
	}
	return false
}

func (c *documents) applyKeys(tx Tx, k gateway.KeyRing, at gateway.Reading) (bool, *gateway.Refusal) {
	if r := ahead(k.IssuedAt, at); r != nil {
		return false, r
	}
	if !tx.Issuers.PutKeys(k) {
		return false, nil
	}
	c.heard(tx, k.Issuer, k.IssuedAt, at)
	return true, nil
}

// openAll verifies many items on all processors.
func (c *documents) openAll(items []gateway.Item, wanted func(gateway.Item) bool) []*document {
	docs := make([]*document, len(items))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range next {
				d := c.open(items[n].Kind, items[n].Body)
				docs[n] = &d
			}
		})
	}
	for n, i := range items {
		if wanted(i) {
			next <- n
		}
	}
	close(next)
	wg.Wait()
	return docs
}

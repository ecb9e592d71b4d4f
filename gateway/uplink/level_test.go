package uplink

import (
	"fmt"
	"testing"
	"testing/synctest"

	"gardien/gateway"
)

func itemOf(jti string, ver int64) gateway.Item {
	return gateway.Item{ID: gateway.ItemID("x.example", jti), Kind: gateway.ItemGrant, Ver: ver, Exp: 86400, Body: fmt.Sprintf("%s %d", jti, ver)}
}

// level holds that the gateway has what the cloud has.
func level(t *testing.T, r *rig, c *fakeCloud, when string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	want := c.headOf()
	c.mu.Unlock()
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	if got := r.digest(); got != want.Digest || r.pos.Seq != want.Head || r.pos.Epoch != want.Epoch {
		t.Errorf("%s: the gateway is at %+v, the cloud at %+v; digests equal: %v", when, r.pos, want, got == want.Digest)
	}
}

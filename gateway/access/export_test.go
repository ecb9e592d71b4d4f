package access

import (
	"context"
	"errors"
	"time"

	"gardien/gateway"
)

// For the tests of package access_test.

// Rule gives the checks of Explain for any instant, by one look at the memory: an Explain of each
// minute of two weeks would take minutes.
func (c *Controller) Rule(ctx context.Context, id gateway.GrantID, door gateway.DoorID) (at func(time.Time) []Check, err error) {
	var f Facts
	err = c.ledger.View(ctx, func(tx Tx) error {
		g, found := tx.Grants.Get(id)
		if !found {
			return errors.New("there is no grant " + id.String())
		}
		f = c.facts(tx, g, c.doors.View(door), surely(time.Now()))
		return nil
	})
	return func(t time.Time) []Check {
		f.At, f.Clock = surely(t), surely(t)
		return Judge(f)
	}, err
}

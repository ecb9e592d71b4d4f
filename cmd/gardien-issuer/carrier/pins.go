package carrier

import (
	"fmt"
	"slices"
	"strings"

	"gardien/gateway"
)

// DrawPIN draws a PIN that each of the doors takes, of the shortest such length.
func (to *Gateway) DrawPIN(doors []gateway.DoorID) (gateway.PIN, error) {
	lengths, err := to.pinLengths(doors)
	if err != nil {
		return gateway.PIN{}, err
	}
	return gateway.DrawPIN(lengths[0]), nil
}

// checkPIN refuses a PIN that the gateway would refuse for its length.
func (to *Gateway) checkPIN(g gateway.Grant) error {
	if g.PIN.IsZero() {
		return nil
	}
	lengths, err := to.pinLengths(g.Doors)
	if err == nil && !slices.Contains(lengths, g.PIN.Len()) {
		err = fmt.Errorf("a PIN of %d digits: gateway %s takes %s at %v", g.PIN.Len(), to.Descriptor.Gateway, gateway.Digits(lengths), g.Doors)
	}
	return err
}

// pinLengths gives the lengths that a PIN for all of the doors may have.
func (to *Gateway) pinLengths(doors []gateway.DoorID) ([]int, error) {
	lengths := to.Descriptor.PINLengths(doors)
	if len(lengths) > 0 {
		return lengths, nil
	}
	var each []string
	for _, d := range doors {
		each = append(each, fmt.Sprintf("%s: %s", d, gateway.Digits(to.Descriptor.PINLengths([]gateway.DoorID{d}))))
	}
	return nil, fmt.Errorf("the doors take PINs of no common length (%s): make a grant for each", strings.Join(each, "; "))
}

package configs

import (
	"fmt"
	"slices"
)

// interlock holds the doors of which one at a time is released or open against what there is: of a
// door without a contact nobody knows whether it is open.
func interlock(c *Config, bad func(key, problem, remedy string)) {
	if len(c.Interlock) == 1 {
		bad("interlock", "it names one door", "name two or more, as in [front, side], or leave it out")
	}
	for i, id := range c.Interlock {
		at := fmt.Sprintf("interlock[%d]", i)
		d := slices.IndexFunc(c.Doors, func(d Door) bool { return d.ID == id })
		switch {
		case d < 0 && len(c.Doors) > 0:
			bad(at, fmt.Sprintf("there is no door %q", id), "choose from "+doorIDs(c))
		case d < 0:
		case slices.Index(c.Interlock, id) < i:
			bad(at, fmt.Sprintf("door %q is named twice", id), "name each door once")
		case c.Doors[d].Contact == nil:
			bad(at, fmt.Sprintf("door %q has no contact, so that nobody knows whether it is open", id), "add a contact to the door, or leave the door out")
		}
	}
}

package access

import "sync"

// crew is what goes on beside a caller, and is waited for when the gateway stops.
type crew struct {
	mu       sync.Mutex
	working  sync.WaitGroup
	finished bool
}

// start runs f beside the caller; false says that the gateway stops.
func (c *crew) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		c.working.Go(f)
	}
	return !c.finished
}

// finish takes no more, and waits for the rest.
func (c *crew) finish() {
	c.mu.Lock()
	c.finished = true
	c.mu.Unlock()
	c.working.Wait()
}

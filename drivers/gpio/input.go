package gpio

import (
	"fmt"
	"io"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// sampleEvery is how often an input is sampled without an edge: nothing rests on having
// seen every edge, and a chip that goes away tells old kernels' waiters nothing.
const sampleEvery = 30 * time.Second

// look is a sample of a pin.
type look struct {
	level gpio.Level
	err   error  // the line is lost
	edges []Edge // since the look before, where the pin tells edges apart
}

// input watches a pin. wake is told what is seen after each sign of a change, and while
// the line is lost.
type input struct {
	pin      gpio.PinIn
	pull     gpio.Pull
	debounce time.Duration // where the pin does not debounce by itself
	wake     func(look)
	lost     func(n int) // told of edges that did not come; nil: nobody is

	done chan struct{}
	once sync.Once
	over sync.WaitGroup
}

// watch calls wake until Close. The pin is an input already.
func (in *input) watch() {
	in.done = make(chan struct{})
	in.over.Go(in.run)
}

func (in *input) isClosed() bool {
	select {
	case <-in.done:
		return true
	default:
		return false
	}
}

func (in *input) run() {
	for {
		edges := in.wait()
		if in.isClosed() {
			return
		}
		level, err := sample(in.pin)
		in.wake(look{level, err, edges})
		in.tellLost(edges)
		if err != nil { // the line itself backs off further
			select {
			case <-in.done:
			case <-time.After(backoffLeast):
			}
		}
	}
}

// tellLost tells of gaps: the level is right all the same, but something has happened unseen.
func (in *input) tellLost(edges []Edge) {
	n := 0
	for _, e := range edges {
		n += e.Lost
	}
	if n > 0 && in.lost != nil {
		in.lost(n)
	}
}

// wait returns after a sign of a change, or a while.
func (in *input) wait() (edges []Edge) {
	source, ok := in.pin.(Edges)
	if !ok {
		if in.pin.WaitForEdge(sampleEvery) {
			for in.debounce > 0 && !in.isClosed() && in.pin.WaitForEdge(in.debounce) {
			}
		}
		return nil
	}
	e, err := source.NextEdge(time.Now().Add(sampleEvery))
	for err == nil && len(edges) < 1024 {
		edges = append(edges, e)
		// What is there already is one sign.
		e, err = source.NextEdge(time.Unix(1, 0))
	}
	return edges
}

// Close ends the watch and gives the line back.
func (in *input) Close() (err error) {
	in.once.Do(func() {
		close(in.done)
		in.pin.Halt()
		if c, ok := in.pin.(io.Closer); ok { // else a wait may go on for a while
			err = c.Close()
			in.over.Wait()
		}
	})
	return err
}

func describe(kind, name string, pin fmt.Stringer) string {
	return name + " " + kind + " on " + pin.String()
}

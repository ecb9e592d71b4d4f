package api

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"gardien/gateway"
	"gardien/gateway/web"
)

// maxEntries is how many documents a mailbag may have.
const maxEntries = 1000

// mailbag is its request's body: items, or bare grants as strings.
type mailbag struct {
	Items []json.RawMessage `json:"items"`
}

// MailbagService takes in what strangers carry here.
type MailbagService interface {
	// Take takes in n documents, of which item gives one. It works on them while it has a turn only.
	Take(ctx context.Context, n int, item func(int) MailbagItem, turn func(context.Context) (leave func(), err error)) ([]MailbagResult, error)
}

// mailbag answers a bag. Strangers' bags are worked on one at a time, a few documents of each in
// turn, and of the large ones one is open at a time: however many there are, they take one processor,
// and what is in memory of them is their bodies (I1).
func (s *Server) mailbag(r *request) (Answer, error) {
	turns := &bagTurns{counter: s.counter, lane: laneSmall}
	if len(r.body) > maxBody {
		leave, err := s.openBags.Take(r.Context())
		if err != nil {
			return Answer{}, err
		}
		defer leave()
		turns.lane = laneLarge
	} else {
		leave, err := s.bags.enter(carrierOf(r.Request))
		if err != nil {
			return Answer{}, err
		}
		defer leave()
	}
	bag, err := opened(r, turns.take)
	if err != nil {
		return Answer{}, err
	}
	results, err := s.backend.Mailbag.Take(r.Context(), len(bag.Items), bag.item, turns.take)
	if err != nil {
		return Answer{}, err
	}
	answer := MailbagResults{Results: results}
	if !s.backend.Upkeep.Durable() {
		answer.Durable = new(bool)
	}
	return reply(200, answer)
}

// opened reads what a bag's body is made of, when it is its turn. The body is not needed any more.
func opened(r *request, turn func(context.Context) (func(), error)) (bag mailbag, err error) {
	leave, err := turn(r.Context())
	if err != nil {
		return bag, err
	}
	defer leave()
	if err := r.read(&bag); err != nil {
		return bag, err
	}
	r.body = nil
	if len(bag.Items) > maxEntries {
		return bag, web.BadRequest("items: at most %d", maxEntries)
	}
	return bag, nil
}

// item reads an entry. Unknown members of an item are somebody's future: they are ignored. An entry
// that is no item is rejected by itself and blocks no other (N7).
func (b mailbag) item(n int) (item MailbagItem) {
	if json.Unmarshal(b.Items[n], &item.Body) == nil {
		item.Kind = gateway.ItemGrant
		return item
	}
	if err := web.Decode(b.Items[n], &item, web.OthersPass); err != nil {
		return MailbagItem{}
	}
	return item
}

// counter is where bags are worked on: one turn at a time. There are three lanes, of which each in
// turn lets its first one in: the first turns of any bag, further turns of small bags, and those of the
// large one that is open. So a bag of one revocation waits for no bag of many, and none waits without end.
type counter struct {
	mu      sync.Mutex
	busy    bool
	last    int // the lane that was served last
	waiting [3][]chan struct{}
}

const (
	laneFirst = iota
	laneSmall
	laneLarge

	firstTurns = 2 // as many as a bag of a few documents has
)

// bagTurns are the turns of one bag.
type bagTurns struct {
	counter *counter
	lane    int // after the first turns
	had     int
}

// take waits for a turn and gives the way out, which is good once.
func (t *bagTurns) take(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, lane := t.counter, t.lane
	if t.had++; t.had <= firstTurns {
		lane = laneFirst
	}
	c.mu.Lock()
	if !c.busy {
		c.busy, c.last = true, lane
		c.mu.Unlock()
		return sync.OnceFunc(c.next), nil
	}
	mine := make(chan struct{}, 1)
	c.waiting[lane] = append(c.waiting[lane], mine)
	c.mu.Unlock()
	select {
	case <-mine:
		return sync.OnceFunc(c.next), nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	i := slices.Index(c.waiting[lane], mine)
	if i >= 0 {
		c.waiting[lane] = slices.Delete(c.waiting[lane], i, i+1)
	}
	c.mu.Unlock()
	if i < 0 {
		c.next() // the turn has come at the same moment
	}
	return nil, ctx.Err()
}

// next ends a turn: the next lane's first one is in.
func (c *counter) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.waiting {
		lane := (c.last + 1 + i) % len(c.waiting)
		if len(c.waiting[lane]) > 0 {
			c.last = lane
			c.waiting[lane][0] <- struct{}{}
			c.waiting[lane] = slices.Delete(c.waiting[lane], 0, 1)
			return
		}
	}
	c.busy = false
}

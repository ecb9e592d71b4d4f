package uplink

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
)

// fakeCloud is a mailbox for one gateway, of the contract's behaviour and in memory, whose
// answers a test can spoil.
type fakeCloud struct {
	mu      sync.Mutex
	epoch   string
	head    int64
	floor   int64
	log     []gateway.FeedItem
	current map[string]gateway.Item
	wake    chan struct{}
	up      []gateway.Letter
	logs    map[string]int64
	spoil   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newFakeCloud() *fakeCloud {
	return &fakeCloud{epoch: "e1", current: map[string]gateway.Item{}, wake: make(chan struct{}), logs: map[string]int64{}}
}

func (c *fakeCloud) put(i gateway.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head++
	c.log = append(c.log, gateway.FeedItem{Seq: c.head, Item: i})
	if i.Kind != gateway.ItemCommand {
		c.current[i.ID] = i
	}
	close(c.wake)
	c.wake = make(chan struct{})
}

// change does something to the cloud, and wakes streams.
func (c *fakeCloud) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.wake)
	c.wake = make(chan struct{})
}

func (c *fakeCloud) setSpoil(f func(w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoil = f
}

func (c *fakeCloud) headOf() gateway.FeedHead {
	var all []gateway.Item
	for _, i := range c.current {
		all = append(all, i)
	}
	return gateway.FeedHead{Epoch: c.epoch, Head: c.head, Floor: c.floor, Digest: gateway.DigestOf(all)}
}

func (c *fakeCloud) after(seq int64) (list []gateway.FeedItem) {
	for _, i := range c.log {
		if i.Seq > seq {
			list = append(list, i)
		}
	}
	return list
}

func (c *fakeCloud) letters() []gateway.Letter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]gateway.Letter{}, c.up...)
}

func (c *fakeCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	spoil := c.spoil
	c.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/feed"):
		c.feed(w, r)
	case strings.HasSuffix(r.URL.Path, "/snapshot"):
		c.mu.Lock()
		h := c.headOf()
		s := gateway.FeedSnapshot{Epoch: h.Epoch, Head: h.Head, Digest: h.Digest, Items: []gateway.Item{}}
		for _, i := range c.current {
			s.Items = append(s.Items, i)
		}
		c.mu.Unlock()
		b, _ := json.Marshal(s)
		answerJSON(w, 200, string(b))
	case strings.HasSuffix(r.URL.Path, "/events"):
		c.events(w, r)
	default:
		answerJSON(w, 200, `{"id":"gw"}`)
	}
}

func (c *fakeCloud) events(w http.ResponseWriter, r *http.Request) {
	var u gateway.Upload
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		answerJSON(w, 400, "{}")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range u.Letters {
		last := c.logs[u.Log]
		if l.Seq > last+1 {
			answerJSON(w, 409, fmt.Sprintf(`{"expect":%d}`, last+1))
			return
		}
		if l.Seq == last+1 {
			c.up = append(c.up, l)
			c.logs[u.Log] = l.Seq
		}
	}
	answerJSON(w, 200, fmt.Sprintf(`{"ack":%d}`, c.logs[u.Log]))
}

func (c *fakeCloud) feed(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	epoch := r.URL.Query().Get("epoch")
	c.mu.Lock()
	if epoch != c.epoch || after > c.head || after < c.floor {
		h := c.headOf()
		c.mu.Unlock()
		answerJSON(w, 410, fmt.Sprintf(`{"epoch":%q,"head":%d,"floor":%d}`, h.Epoch, h.Head, h.Floor))
		return
	}
	c.mu.Unlock()
	if strings.Contains(r.Header.Get("Accept"), "json") {
		c.poll(w, r, after)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	beat := time.NewTicker(25 * time.Second)
	defer beat.Stop()
	for {
		c.mu.Lock()
		list, h, wake := c.after(after), c.headOf(), c.wake
		c.mu.Unlock()
		for _, i := range list {
			b, _ := json.Marshal(i)
			fmt.Fprintf(w, "id: %d\nevent: item\ndata: %s\n\n", i.Seq, b)
			after = i.Seq
		}
		b, _ := json.Marshal(h)
		fmt.Fprintf(w, "event: head\ndata: %s\n\n", b)
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-wake:
		case <-beat.C:
		}
	}
}

func (c *fakeCloud) poll(w http.ResponseWriter, r *http.Request, after int64) {
	c.mu.Lock()
	list, wake := c.after(after), c.wake
	c.mu.Unlock()
	if len(list) == 0 {
		select {
		case <-wake:
		case <-time.After(55 * time.Second):
		case <-r.Context().Done():
			return
		}
	}
	c.mu.Lock()
	page := gateway.FeedPage{FeedHead: c.headOf(), Items: c.after(after)}
	c.mu.Unlock()
	b, _ := json.Marshal(page)
	answerJSON(w, 200, string(b))
}

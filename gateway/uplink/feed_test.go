package uplink

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

func TestFeedFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.put(itemOf("a", 1))
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		level(t, r, c, "at first")
		if r.snapshots != 1 {
			t.Errorf("%d snapshots for an empty gateway", r.snapshots)
		}
		c.put(itemOf("b", 1))
		c.put(gateway.Item{ID: gateway.ItemID("x.example", "c"), Kind: gateway.ItemCommand, Ver: 1, Body: "open"})
		c.put(itemOf("a", 2))
		level(t, r, c, "after changes")
		if len(r.received) != 3 || r.snapshots != 1 {
			t.Errorf("%d items by the stream, %d snapshots", len(r.received), r.snapshots)
		}
		if s, _ := r.uplink.State(); s != Connected || !slices.Equal(r.notified, []gateway.EventType{gateway.CloudConnected}) {
			t.Errorf("state %s, told %v", s, r.notified)
		}
		time.Sleep(5 * time.Minute)
		if n := r.net.dialled(); n > 2 { // HTTP/1 in memory: one for the stream, one for the way up
			t.Errorf("%d connections for a quiet day", n)
		}
	})
}

// Whatever the history is: 410, another epoch, a floor beyond us, a change that was lost.
func TestFeedThatCannotGoOn(t *testing.T) {
	for name, break_ := range map[string]func(c *fakeCloud){
		"restored":      func(c *fakeCloud) { c.epoch, c.head, c.log = "e2", 1, nil; clear(c.current) },
		"compacted":     func(c *fakeCloud) { c.floor = c.head },
		"lost a change": func(c *fakeCloud) { c.current[itemOf("lost", 1).ID] = itemOf("lost", 1); c.head++ },
		"another body":  func(c *fakeCloud) { i := itemOf("a", 1); i.Body = "other"; c.current[i.ID] = i },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				r := start(t, c.ServeHTTP, nil)
				defer r.stop()
				c.put(itemOf("a", 1))
				level(t, r, c, "at first")
				r.net.setRefuse(true)
				for n := range 5 {
					c.put(itemOf(fmt.Sprint(n), 1))
				}
				c.change(func() { break_(c) })
				time.Sleep(10 * time.Second)
				r.net.setRefuse(false)
				time.Sleep(time.Minute)
				level(t, r, c, "after it")
				// The same while connected.
				c.put(itemOf("z", 1))
				c.change(func() { break_(c) })
				time.Sleep(time.Minute)
				level(t, r, c, "while connected")
			})
		})
	}
}

// N7: nothing is applied of a snapshot whose digest is not that of its items.
func TestSnapshotWithAWrongDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.put(itemOf("a", 1))
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if strings.HasSuffix(q.URL.Path, "/snapshot") {
				answerJSON(w, 200, `{"epoch":"e1","head":1,"digest":"`+strings.Repeat("A", 43)+`","items":[{"id":"x","kind":"grant","ver":1,"exp":1,"body":"forged"}]}`)
				return true
			}
			return false
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		time.Sleep(10 * time.Minute)
		if len(r.items) != 0 || r.snapshots != 0 {
			t.Errorf("%d items were taken", len(r.items))
		}
		if n := len(r.requests()); n > 180 {
			t.Errorf("%d requests in ten minutes", n)
		}
		c.setSpoil(nil)
		time.Sleep(2 * time.Minute)
		level(t, r, c, "when it is well")
	})
}

func TestGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		away := true
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/feed") || !strings.Contains(q.URL.RawQuery, "epoch=e1") || !away {
				return false
			}
			away = false
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: head\ndata: {\"epoch\":\"e1\",\"head\":0,\"floor\":0,\"digest\":\""+strings.Repeat("A", 43)+"\"}\n\nevent: goaway\ndata: {\"retry_ms\":7000}\n\n")
			return true
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		c.put(itemOf("a", 1))
		time.Sleep(6900 * time.Millisecond)
		if _, ok := r.has(itemOf("a", 1).ID); ok {
			t.Error("it came back before it was asked to")
		}
		time.Sleep(200 * time.Millisecond)
		level(t, r, c, "7 s after goaway")
		if want := []gateway.EventType{gateway.CloudConnected}; !slices.Equal(r.notified, want) {
			t.Errorf("told %v", r.notified)
		}
	})
}

// A proxy that keeps streams to itself: the feed is polled.
func TestBufferingProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if strings.HasSuffix(q.URL.Path, "/feed") && !strings.Contains(q.Header.Get("Accept"), "json") && strings.Contains(q.URL.RawQuery, "epoch=e1") {
				<-q.Context().Done()
				return true
			}
			return false
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		time.Sleep(41 * time.Second)
		c.put(itemOf("a", 1))
		level(t, r, c, "over a proxy that buffers")
		time.Sleep(10 * time.Minute)
		c.put(itemOf("b", 1))
		level(t, r, c, "later")
		if n := len(r.requests()); n > 30 {
			t.Errorf("%d requests in eleven minutes", n)
		}
		if s, _ := r.uplink.State(); s != Connected {
			t.Errorf("state %s", s)
		}
		// Streams are tried again after half an hour.
		c.setSpoil(nil)
		time.Sleep(31 * time.Minute)
		was := len(r.requests())
		time.Sleep(30 * time.Minute)
		if n := len(r.requests()) - was; n > 2 {
			t.Errorf("still polling: %d requests in half an hour", n)
		}
	})
}

// Many empty items are few bytes: their number is bound, too (N4).
func TestListsAreBounded(t *testing.T) {
	long := func(n int) io.Reader {
		return strings.NewReader(`{"x":[1],"items":[` + strings.Repeat("{},", n-1) + `{}],"head":7}`)
	}
	if p, err := readPage(long(maxPageItems)); err != nil || len(p.Items) != maxPageItems || p.Head != 7 {
		t.Errorf("%d items, head %d, %v", len(p.Items), p.Head, err)
	}
	if _, err := readPage(long(maxPageItems + 1)); err == nil {
		t.Error("a page without bound")
	}
	if _, err := readSnapshot(long(maxSnapshotItems + 1)); err == nil {
		t.Error("a snapshot without bound")
	}
	for _, bad := range []string{"", "[]", `{"items":{}}`, `{"items":[}`, `{"items":[{}]`, `{"head":"x"}`, "null"} {
		if _, err := readSnapshot(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// An item that the database does not take is not passed by.
func TestDatabaseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		r.memory.mu.Lock()
		r.fail = errors.New("disk full")
		r.memory.mu.Unlock()
		c.put(itemOf("a", 1))
		c.put(itemOf("b", 1))
		time.Sleep(time.Minute)
		level(t, r, c, "when the disk takes it again")
		if r.snapshots != 1 {
			t.Errorf("%d snapshots", r.snapshots)
		}
	})
}

// Oversized or misshapen items are the business of who reads them, and hold nothing up.
func TestMisshapenItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		big := itemOf("big", 1)
		big.Body = strings.Repeat("x", gateway.MaxItemBody+1)
		c.put(big)
		c.put(gateway.Item{ID: strings.Repeat("i", 65), Kind: "grant", Ver: 1, Body: "b"})
		c.put(gateway.Item{ID: "k", Kind: "No Kind", Ver: 1, Body: "b"})
		c.put(itemOf("good", 1))
		level(t, r, c, "behind them")
		if r.snapshots != 1 || len(r.received) != 4 {
			t.Errorf("%d snapshots, %d items", r.snapshots, len(r.received))
		}
	})
}
